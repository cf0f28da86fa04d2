"""Pieces that all answers in OpenAI's form have: ids, usage, log-probabilities."""

from __future__ import annotations

import os

from llamafile import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
FINGERPRINT = f"llamafile-{VERSION}"


def new_id(prefix: str) -> str:
    """Return an id that nobody has had: the prefix and 32 letters."""
    return prefix + "".join(_LETTERS[byte % len(_LETTERS)] for byte in os.urandom(32))


def usage(results: list[Any]) -> dict[str, Any]:
    """Return the numbers of tokens of one prompt and its answers; a prompt is counted once."""
    prompt = results[0].tokens_evaluated
    completion = sum(result.tokens_predicted for result in results)
    return {
        "completion_tokens": completion, "prompt_tokens": prompt, "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": results[0].tokens_cached},
    }  # fmt: skip


def usage_of_all(results: list[Any], choices: int) -> dict[str, Any]:
    """Return the sum of the usage of several prompts, each with so many answers."""
    found = usage(results[:choices])
    for first in range(choices, len(results), choices):
        more = usage(results[first : first + choices])
        found["prompt_tokens_details"]["cached_tokens"] += more.pop("prompt_tokens_details")["cached_tokens"]
        for name, count in more.items():
            found[name] += count
    return found


def logprobs(probs: list[dict[str, Any]] | None, top: int) -> dict[str, Any] | None:
    """Return a chat choice's logprobs, each token with its best `top`."""
    if probs is None:
        return None
    return {"content": [
        {name: (value[:top] if name in ("top_logprobs", "top_probs") else value) for name, value in each.items()}
        for each in probs
    ], "refusal": None}  # fmt: skip
