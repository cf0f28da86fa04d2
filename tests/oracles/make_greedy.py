"""Regenerates data/greedy_*.npz: llama.cpp's greedy continuation of each prompt with the logits of its best tokens.

Run `python -m tests.oracles.make_greedy`; it needs npm and the models, and takes some minutes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.oracles.llama_cpp import LlamaCpp
from tests.oracles.prompts import PROMPTS
from tests.weights import fetch

DATA = Path(__file__).with_name("data")
MODELS = ("smollm2", "qwen0.5b")
COUNT = 200


class Continuation(NamedTuple):
    """What llama.cpp (F16 cache, flash attention: its defaults) says after one prompt, end tokens included."""

    prompt: np.ndarray  # i32[n]: the prompt's ids, control tokens parsed, with what the model adds in front
    ids: np.ndarray  # i32[COUNT]: the best token at each step
    second: np.ndarray  # i32[COUNT]: the second-best
    gaps: np.ndarray  # f32[COUNT]: by how much its logit is lower
    again: np.ndarray  # f32[COUNT]: the same two tokens' gap when llama.cpp evaluates all at once: its own noise


def load(model: str) -> dict[str, Continuation]:
    """The kept continuations of a model, by the prompt's name."""
    with np.load(DATA / f"greedy_{model}.npz") as saved:
        return {name: Continuation(*(saved[f"{name}.{field}"] for field in Continuation._fields)) for name in PROMPTS}


def make(model: str) -> None:
    """Ask llama.cpp and write the file."""
    oracle = LlamaCpp(fetch(model))
    prompts = oracle.tokenize_all(list(PROMPTS.values()), add_special=True, parse_special=True)
    kept: dict[str, Any] = {}
    for name, prompt, best in zip(PROMPTS, prompts, oracle.greedy(prompts, COUNT), strict=True):
        first, second = best.ids[:, 0], best.ids[:, 1]
        rows = oracle.logits([*prompt, *first[:-1].tolist()], first=len(prompt) - 1)
        every = np.arange(COUNT)
        answer = Continuation(np.array(prompt, np.int32), first, second, best.gaps,
                              rows[every, first] - rows[every, second])
        kept.update({f"{name}.{field}": value for field, value in answer._asdict().items()})
    np.savez_compressed(DATA / f"greedy_{model}.npz", **kept)


if __name__ == "__main__":
    for wanted in MODELS:
        make(wanted)
