"""Opens a model and hands out its logits as numpy arrays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from llamafile.model import Model
from runtime import cpu
from runtime._core import ffi

EXACT = ("f32", "f32")  # cache types that round nothing


@contextmanager
def model(path: Path, **options: Any) -> Iterator[Model]:
    """An open model."""
    opened = Model.open(str(path), **options)
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def session(owner: Model, n_ctx: int, **options: Any) -> Iterator[Any]:
    """A session of a model."""
    opened = owner.session(n_ctx=n_ctx, **options)
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def isa(name: str) -> Iterator[None]:
    """Run programs that are opened meanwhile with one instruction set."""
    before = cpu.chosen()
    cpu.choose(name)
    try:
        yield
    finally:
        cpu.choose(before)


def rows(opened: Any, count: int = 1) -> np.ndarray:
    """f32[count, vocabulary]: a copy of the logits of the last call's first `count` output rows."""
    n = opened.model.n_vocab
    return np.frombuffer(ffi.buffer(opened.logits, 4 * n * count), np.float32).reshape(count, n).copy()


def feed(opened: Any, ids: list[int], step: int) -> np.ndarray:
    """f32[len(ids), vocabulary] of a session with all_logits, fed `step` tokens a call."""
    parts = []
    for start in range(0, len(ids), step):
        part = ids[start:start + step]
        opened.append(part)
        parts.append(rows(opened, len(part)))
    return np.concatenate(parts)


def run(path: Path, ids: list[int], *, step: int = 512, cache: tuple[str, str] = EXACT, **options: Any) -> np.ndarray:
    """f32[len(ids), vocabulary]: open, feed, close."""
    with model(path, **options) as owner, session(owner, len(ids), n_batch=step, cache_types=cache,
                                                  all_logits=True) as opened:
        return feed(opened, ids, step)
