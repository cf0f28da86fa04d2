"""The oracles agree with one another, and each habit of an architecture shows in the logits: the checks can fail."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.oracles import tiny, tiny_gguf
from tests.oracles.llama_cpp import EXACT, LlamaCpp, ensure
from tests.oracles.numpy_llama import NumpyModel
from tests.weights import Unavailable

KEPT = list(tiny.ROWS)


@pytest.fixture(scope="module")
def llama_cpp():
    """A way to open a GGUF in llama.cpp, in its most exact settings."""
    try:
        ensure()
    except Unavailable as problem:
        pytest.skip(f"llama.cpp cannot be had: {problem}")

    def open_file(path: Path, **options) -> LlamaCpp:
        return LlamaCpp(path, **{**EXACT, **options})

    return open_file


# llama.cpp knows no window for the llama architecture, and computes gelu from a table in F16.
@pytest.mark.parametrize(("name", "tolerance"), [(name, 3e-3 if name == "gemma3" else 5e-5) for name in tiny.MODELS
                                                 if name != "mistral-window"])
def test_llama_cpp_reads_what_transformers_ran(tmp_path, llama_cpp, name, tolerance):
    model = tiny.MODELS[name]
    path = tiny_gguf.write(model, tmp_path / "tiny.gguf")
    theirs = llama_cpp(path).logits(tiny.tokens())[KEPT]
    np.testing.assert_allclose(theirs, tiny.reference(model), rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ["llama", "llama3", "mistral", "qwen2"])
def test_numpy_computes_what_transformers_ran(tmp_path, name):
    model = tiny.MODELS[name]
    path = tiny_gguf.write(model, tmp_path / "tiny.gguf")
    np.testing.assert_allclose(NumpyModel(path).logits(tiny.tokens())[KEPT], tiny.reference(model), rtol=0, atol=5e-5)


@pytest.mark.parametrize(("name", "change"), [
    ("llama", {"theta": 11000.0}), ("llama", {"eps": 1e-2}), ("llama3", {"scaling": {}}), ("llama-bias", {"bias": ()}),
    ("llama-bias", {"scaling": {}}), ("mixtral", {"experts_used": 3}), ("qwen2-yarn", {"scaling": {}}),
    ("qwen2-yarn", {"scaling": {**tiny.YARN, "type": "linear"}}), ("qwen3", {"theta": 9e5}), ("gemma3", {"window": 9}),
    ("gemma3", {"scaling": {}}), ("gemma3", {"theta": 1e5}), ("llama", {"heads": 2, "kv_heads": 1, "head_size": 32}),
])
def test_each_habit_shows(tmp_path, llama_cpp, name, change):
    """A file that differs in one habit gives other logits: the kept ones would catch an engine that lacks it."""
    model = tiny.MODELS[name]
    path = tiny_gguf.write(dataclasses.replace(model, **change), tmp_path / "other.gguf")
    assert np.abs(llama_cpp(path).logits(tiny.tokens())[KEPT] - tiny.reference(model)).max() > 2e-3


@pytest.mark.models
def test_llama_cpp_says_again_what_is_kept(smollm2, llama_cpp):
    """The kept continuations come from this llama.cpp: one is asked for again."""
    from tests.oracles.make_greedy import COUNT, load

    kept = load("smollm2")["fact"]
    oracle = LlamaCpp(smollm2)
    assert oracle.tokenize("The capital of France is", add_special=True) == kept.prompt.tolist()
    best = oracle.greedy([kept.prompt.tolist()], COUNT)[0]
    assert np.array_equal(best.ids[:, 0], kept.ids)
    assert oracle.detokenize(best.ids[:2, 0].tolist()) == b" Paris."
