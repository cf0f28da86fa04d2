"""Perplexity on the King James text: llama.cpp's, within half a per cent."""

from __future__ import annotations

import numpy as np
import pytest

from tests.engine import opened
from tests.oracles import kjv
from tests.oracles.make_perplexity import SIZE, ids_sha256, load
from tests.weights import Unavailable

pytestmark = pytest.mark.models


@pytest.fixture(scope="module")
def text():
    try:
        return kjv.head(SIZE)
    except Unavailable as problem:
        pytest.skip(f"the King James text cannot be had: {problem}")


def scores(model, text, kept, windows) -> np.ndarray:
    """f64[windows]: the sum of -ln p over the scored tokens of each window, as LlamaCpp.perplexity defines them."""
    ids = model.tokenizer.encode(text, add_special=True, parse_special=False)
    assert (len(ids), ids_sha256(ids)) == (kept["tokens"], kept["ids_sha256"])
    window, half, sums = kept["window"], kept["window"] // 2, []
    with opened.session(model, window, n_batch=half, all_logits=True) as session:
        for start in range(0, windows * window, window):
            session.truncate(0)
            session.append(ids[start:start + half])
            session.append(ids[start + half:start + window])
            rows = opened.rows(session, half)[:-1].astype(np.float64)
            rows -= rows.max(-1, keepdims=True)
            targets = ids[start + half + 1:start + window]
            sums.append((np.log(np.exp(rows).sum(-1)) - rows[np.arange(len(targets)), targets]).sum())
    return np.array(sums)


def compare(path, name, text, windows, tolerance) -> None:
    """Ours over the first windows (None: all) is llama.cpp's over the same ones."""
    kept = load(name)
    theirs = np.array(kept["nll"][:windows])
    with opened.model(path) as model:
        ours = scores(model, text, kept, len(theirs))
    per_window = kept["window"] - kept["window"] // 2 - 1
    a, b = np.exp(ours.mean() / per_window), np.exp(theirs.mean() / per_window)
    print(f"{name}: perplexity {a:.4f}, llama.cpp's {b:.4f}")
    assert abs(a / b - 1) < tolerance


def test_smollm2_begins_alike(smollm2, text):
    """Over few windows chance plays a larger part."""
    compare(smollm2, "smollm2", text, 5, 0.01)


@pytest.mark.long
def test_smollm2(smollm2, text):
    compare(smollm2, "smollm2", text, None, 0.005)


@pytest.mark.long
def test_qwen(qwen0_5b, text):
    compare(qwen0_5b, "qwen0.5b", text, None, 0.005)
