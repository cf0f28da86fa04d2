"""Every architecture gives transformers' logits, in every float format, cache format and instruction set."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from llamafile.models.positions import Rope
from runtime import cpu
from tests.engine import opened
from tests.oracles import tiny, tiny_gguf

NAMES = list(tiny.MODELS)
KEPT = list(tiny.ROWS)
#: The largest differences seen are 2.2e-5 with an F32 cache, which is transformers' own distance from F64.
CLOSE = 5e-5
#: AMX multiplies BF16 weights with 16 bits of each activation: 2.4e-4 is the largest difference seen.
CLOSE_ON_TILES = 4e-4


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Write a tiny model once: file(name, kind)."""
    folder, written = tmp_path_factory.mktemp("tiny"), {}

    def give(name, kind="F32"):
        if (name, kind) not in written:
            written[name, kind] = tiny_gguf.write(tiny.MODELS[name], folder / f"{name}.{kind}.gguf", kind)
        return written[name, kind]

    return give


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("name", NAMES)
def test_logits_are_those_of_transformers(file, name, kind):
    """All three formats hold the same numbers, so all three must give them."""
    ours = opened.run(file(name, kind), tiny.tokens())[KEPT]
    close = CLOSE_ON_TILES if kind == "BF16" and cpu.chosen() == "amx" else CLOSE
    np.testing.assert_allclose(ours, tiny.reference(tiny.MODELS[name]), rtol=0, atol=close)


@pytest.mark.parametrize("set_name", cpu.available())
@pytest.mark.parametrize("name", NAMES)
def test_each_instruction_set(file, name, set_name):
    with opened.isa(set_name):
        ours = opened.run(file(name), tiny.tokens())[KEPT]
    np.testing.assert_allclose(ours, tiny.reference(tiny.MODELS[name]), rtol=0, atol=CLOSE)


@pytest.mark.parametrize(("cache", "tolerance"), [("f16", 0.001), ("bf16", 0.008), ("q8_0", 0.025), ("q5_1", 0.15),
                                                   ("q5_0", 0.2), ("q4_1", 0.3), ("q4_0", 0.35), ("iq4_nl", 0.35)])
@pytest.mark.parametrize("name", ["mistral", "qwen3", "gemma3"])  # heads of 32, a block of the quantised formats
def test_a_rounded_cache_costs_little(file, name, cache, tolerance):
    """The share of the spread that is lost grows with the format's step; tolerances are 1.5 times what was seen."""
    reference = tiny.reference(tiny.MODELS[name])
    ours = opened.run(file(name), tiny.tokens(), cache=(cache, cache))[KEPT]
    error = np.sqrt(((ours - reference) ** 2).mean()) / reference.std()
    assert tolerance / 10 < error < tolerance


def test_scaling_may_be_asked_for_instead_of_written(file, tmp_path):
    """Rotation set by the user over a file that says nothing equals the file that says it."""
    for name, rope in (("llama-bias", Rope(freq_scale=1 / 4)),
                       ("qwen2-yarn", Rope(scaling="yarn", freq_scale=1 / 4, orig_ctx=16))):
        silent = dataclasses.replace(tiny.MODELS[name], scaling={})
        path = tiny_gguf.write(silent, tmp_path / f"{name}.gguf")
        asked = opened.run(path, tiny.tokens(), rope=rope)[KEPT]
        np.testing.assert_allclose(asked, tiny.reference(tiny.MODELS[name]), rtol=0, atol=CLOSE)
        assert np.abs(asked - opened.run(path, tiny.tokens())[KEPT]).max() > 0.1


def test_a_base_may_be_asked_for(file, tmp_path):
    silent = dataclasses.replace(tiny.MODELS["qwen2"], theta=500.0)
    path = tiny_gguf.write(silent, tmp_path / "base.gguf")
    asked = opened.run(path, tiny.tokens(), rope=Rope(freq_base=1e6))[KEPT]
    np.testing.assert_allclose(asked, tiny.reference(tiny.MODELS["qwen2"]), rtol=0, atol=CLOSE)
