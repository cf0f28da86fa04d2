"""Counts and times: those of one request, as llama-server's timings, and those of the scheduler, as its metrics."""

from __future__ import annotations

import time


class Clock:
    """One request's counts and moments (seconds of perf_counter; 0 until they come)."""

    __slots__ = ("accepted", "cached", "drafted", "ended", "evaluated", "first", "predicted", "prompt", "started")

    def __init__(self, prompt):
        self.prompt, self.cached, self.evaluated, self.predicted = prompt, 0, 0, 0
        self.drafted = self.accepted = 0  # tokens guessed ahead, and those of them that came
        self.started = self.first = self.ended = 0.0

    def timings(self):
        """llama-server's fields; milliseconds and tokens a second."""
        now = self.ended or time.perf_counter()
        prompt_ms = 1000 * ((self.first or now) - self.started) if self.started else 0.0
        predicted_ms = 1000 * (now - self.first) if self.first else 0.0
        prompt_n = self.prompt - self.cached
        return {
            "cache_n": self.cached,
            **_rates("prompt", prompt_n, prompt_ms),
            **_rates("predicted", self.predicted, predicted_ms),
            **({"draft_n": self.drafted, "draft_n_accepted": self.accepted} if self.drafted else {}),
        }


def _rates(name, n, ms):
    return {f"{name}_n": n, f"{name}_ms": ms, f"{name}_per_token_ms": ms / n if n else 0.0,
            f"{name}_per_second": 1000 * n / ms if ms else 0.0}  # fmt: skip


class Metrics:
    """What the scheduler has done since it started."""

    __slots__ = (
        "accepted", "busy_slots", "decodes", "drafted", "drafts", "most_tokens", "predicted", "predicted_seconds",
        "prompt", "prompt_seconds",
    )  # fmt: skip

    def __init__(self):
        self.drafts = self.drafted = self.accepted = 0
        self.prompt = self.predicted = self.decodes = self.busy_slots = self.most_tokens = 0
        self.prompt_seconds = self.predicted_seconds = 0.0

    def count_step(self, seconds, prompt_rows, decode_rows, sequences):
        """A step of so many rows of prompts and answers; its time is shared out by rows."""
        rows = prompt_rows + decode_rows
        self.decodes += 1
        self.busy_slots += sequences
        self.prompt += prompt_rows
        self.predicted += decode_rows
        self.prompt_seconds += seconds * prompt_rows / rows
        self.predicted_seconds += seconds * decode_rows / rows

    def count_draft(self, tokens):
        """So many tokens were guessed for an answer in a step."""
        self.drafts += 1
        self.drafted += tokens

    def values(self, processing, deferred):
        """By the names of /metrics without their prefix."""
        return {
            "prompt_tokens_total": self.prompt,
            "prompt_seconds_total": self.prompt_seconds,
            "prompt_tokens_seconds": self.prompt / self.prompt_seconds if self.prompt_seconds else 0.0,
            "tokens_predicted_total": self.predicted,
            "tokens_predicted_seconds_total": self.predicted_seconds,
            "predicted_tokens_seconds": self.predicted / self.predicted_seconds if self.predicted_seconds else 0.0,
            "requests_processing": processing,
            "requests_deferred": deferred,
            "n_tokens_max": self.most_tokens,
            "n_decode_total": self.decodes,
            "n_busy_slots_per_decode": self.busy_slots / self.decodes if self.decodes else 0.0,
            "spec_decode_num_drafts_total": self.drafts,
            "spec_decode_num_draft_tokens_total": self.drafted,
            "spec_decode_num_accepted_tokens_total": self.accepted,
        }
