"""Guessing ahead: tokens a second with and without, in turns, on texts that repeat themselves and others."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from llamafile.model import Model
from llamafile.sampling import Params, Sampler
from llamafile.speculation import draft_model
from llamafile.speculation.alone import Alone
from llamafile.speculation.wishes import Wishes

from . import models
from .report import ratio

ROOT = Path(__file__).resolve().parent.parent.parent
CTX = 6144
TURN = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"


def code():
    """About 150 lines to be given back with another name in them."""
    return "\n".join((ROOT / "llamafile/serving/pages.py").read_text().splitlines()[:150])


def prompts():
    """(name, prompt, sampling) of each kind of work; for the first two the answer takes much from the prompt."""
    document = (ROOT / "docs/serving.md").read_text()
    exact = Params(temperature=0.0, seed=1)
    drawn = Params(temperature=0.8, seed=1)
    return (
        ("code editing", f"Rename the method `closest_child` to `nearest_page` everywhere in this file. Give the whole "
         f"file back and change nothing else.\n```python\n{code()}\n```", exact),
        ("summarising", "Summarise this text in a list. For each section quote the most important sentences word for "
         f"word.\n\n{document}", exact),
        ("free prose", "Write a long story about a lighthouse keeper who finds a map.", drawn),
        ("chat, temperature 1.2", "Hi! I feel like talking about nothing in particular. Tell me what comes to mind.",
         Params(temperature=1.2, top_k=0, top_p=1.0, min_p=0.02, seed=1)),
    )  # fmt: skip


class Writer:
    """One model that answers a prompt with or without guesses."""

    def __init__(self, path, threads, draft=None):
        self.model = Model.open(str(path), n_threads=threads)
        self.session = self.model.session(CTX, n_ahead=16)
        self.draft = None
        if draft is not None:
            small = Model.open(str(draft), n_threads=threads)
            draft_model.check(small, self.model)
            self.draft = draft_model.DraftModel(small, CTX, 1)

    def write(self, prompt, params, count, wishes=None):
        """(tokens, seconds by the clock, seconds of the processor, guesses, right ones) of an answer's tokens."""
        ids = self.model.tokenizer.encode(TURN.format(prompt))
        sampler = Sampler(params, self.model.tokenizer.n_vocab, CTX)
        sampler.accept_all(ids)
        self.session.sync(ids)
        ahead = Alone(self.session, wishes) if wishes is not None else None
        if ahead is not None:
            ahead.begin(ids)
        tokens = []
        wall, cpu = time.perf_counter(), time.process_time()
        while len(tokens) < count:
            token = sampler.sample(self.session.logits)
            sampler.accept(token)
            if token in self.model.tokenizer.eog:
                break
            tokens.append(token)
            (ahead or self.session).append([token])
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return tokens, wall, cpu, *((ahead.drafted, ahead.accepted) if ahead is not None else (0, 0))

    def close(self):
        """Give everything back."""
        self.session.close()
        if self.draft is not None:
            self.draft.close()
        self.model.close()


def measure(report, options):
    """Report Qwen2.5-Coder 0.5B and 1.5B with prompt lookup, and the larger one with the smaller one as its draft."""
    small = models.fetched(report, "qwen0.5b")
    if small is None:
        return
    count = 48 if options.quick else 400
    _texts(report, options, "Qwen 0.5B, lookup", Writer(small, options.threads), count, lambda writer: Wishes())
    large = None if options.quick else models.fetched(report, "qwen1.5b")
    if large is not None:
        _texts(report, options, "Qwen 1.5B, lookup", Writer(large, options.threads), count, lambda writer: Wishes())
        _texts(report, options, "Qwen 1.5B, draft 0.5B", Writer(large, options.threads, small), count,
               lambda writer: Wishes(True, writer.draft))  # fmt: skip


def _texts(report, options, name, writer, count, wishes):
    try:
        for kind, prompt, params in prompts():
            _text(report, options, f"{name}: {kind}", writer, prompt, params, count, wishes)
    finally:
        writer.close()


def _text(report, options, what, writer, prompt, params, count, wishes):
    """One prompt in alternating rounds; the texts must be the same, or the numbers mean nothing."""
    plain, guessed = [], []
    for _ in range(options.rounds):
        plain.append(writer.write(prompt, params, count))
        guessed.append(writer.write(prompt, params, count, wishes(writer)))
        assert plain[-1][0] == guessed[-1][0], f"{what}: the text has changed"
    speeds = [[len(run[0]) / run[1] for run in runs] for runs in (plain, guessed)]
    share = ratio(speeds[1], speeds[0])
    report.add("speculation", what, "answer without guesses", statistics.median(speeds[0]), "tok/s")
    report.add("speculation", what, "with guesses", statistics.median(speeds[1]), "tok/s", share=share,
               of="without guesses")
    processor = statistics.median(one[2] for one in plain) / statistics.median(one[2] for one in guessed)
    report.add("speculation", what, "processor time saved", processor, "x")
    drafted, accepted = (sum(run[i] for run in guessed) / len(guessed) for i in (3, 4))
    report.add("speculation", what, "guesses", drafted, "tokens", share=accepted / drafted if drafted else None,
               of="came")
