"""Whole models whose weights are laid out, in the file or in memory: the bits of the plain ones, also on cards."""

from __future__ import annotations

import numpy as np
import pytest

from llamafile import quantize
from llamafile.gguf import layout
from llamafile.gguf.reader import open_path
from llamafile.gguf.repack import repack
from llamafile.model import Model
from runtime import cpu
from runtime.quants import BY_ID
from tests.engine import opened
from tests.gpu import modules
from tests.oracles import tiny, tiny_gguf

KINDS = tuple(kind for kind in (*tiny_gguf.ENCODED, *tiny_gguf.DECODED) if kind not in ("F16", "BF16"))
IDS = tiny.tokens(24)


def relaid(source, target, lay):
    """Write the other form of a file; returns the target."""
    with open_path(source) as file, open(target, "wb") as out:
        for chunk in layout.file_bytes(file, 0, lay):
            out.write(chunk)
    return target


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Write a model in a format, plain and laid out: pair(model, kind) -> two paths."""
    folder, made = tmp_path_factory.mktemp("laid-out"), {}

    def give(model, kind):
        if (model, kind) not in made:
            path = tiny_gguf.write(tiny.WIDE[model], folder / f"{model}.{kind}.gguf", kind)
            made[model, kind] = path, relaid(path, folder / f"{model}.{kind}.r16.gguf", True)
        return made[model, kind]

    return give


def laid(file):
    """How many tensors of an open file are laid out."""
    return sum(BY_ID[tensor.type].plain is not None for tensor in file.tensors.values())


@pytest.mark.parametrize("set_name", cpu.available())
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", tiny.WIDE)
def test_the_same_bits(pair, model, kind, set_name):
    plain, other = pair(model, kind)
    with open_path(other) as file:
        assert laid(file) >= 14
    with opened.isa(set_name):
        want = opened.run(plain, IDS)
        assert np.array_equal(opened.run(other, IDS), want)
        assert np.array_equal(opened.run(other, IDS, step=1, n_threads=3), want)


@pytest.mark.parametrize("model", tiny.WIDE)
def test_laid_out_in_memory(pair, model, monkeypatch):
    monkeypatch.setattr("llamafile.gguf.repack.PIECE", 10000)
    plain, _ = pair(model, "Q4_K")
    file = open_path(plain)
    size, _ = repack(file, 3)
    assert size > 0 and laid(file) >= 14 and len(file.mappings) == 2
    assert repack(file, 3) == (0, 0.0)
    owner = Model(file, n_threads=2)
    with opened.session(owner, len(IDS), n_batch=512, cache_types=opened.EXACT, all_logits=True) as session:
        got = opened.feed(session, IDS, 512)
    owner.close()
    assert np.array_equal(got, opened.run(plain, IDS))


@pytest.mark.parametrize("layers", [1, 999])
@pytest.mark.parametrize("kind", ["Q4_0", "Q6_K"])
@pytest.mark.parametrize("model", tiny.WIDE)
def test_cards_get_plain_rows(pair, model, kind, layers, monkeypatch):
    monkeypatch.setattr(layout, "PIECE", 10000)
    plain, other = pair(model, kind)
    module = modules.test_module()
    want = opened.run(plain, IDS, offload=modules.offload(module, layers))
    assert np.array_equal(opened.run(other, IDS, offload=modules.offload(module, layers)), want)


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_K"])
def test_quantize_reads_both(pair, kind, tmp_path):
    made = {}
    for name, source in zip(("plain", "laid"), pair("mixtral", kind)):
        for wish in (["COPY"], ["Q4_0", "--allow-requantize"], ["Q8_0", "--allow-requantize", "--pure"]):
            target = tmp_path / f"{name}.{wish[0]}.gguf"
            assert quantize.main([str(source), str(target), *wish]) == 0
            made[name, wish[0]] = target.read_bytes()
    for wish in ("COPY", "Q4_0", "Q8_0"):
        assert made["plain", wish] == made["laid", wish]
    with open_path(tmp_path / "laid.COPY.gguf") as file:
        assert laid(file) == 0
