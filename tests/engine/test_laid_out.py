"""Whole models whose weights are laid out, in the file or in memory: the bits of the plain ones, also on cards."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from llamafile import quantize
from llamafile.gguf import layout
from llamafile.gguf import repack as repack_module
from llamafile.gguf.reader import open_path
from llamafile.gguf.repack import repack
from llamafile.model import Model
from runtime import cpu, nodes
from runtime.quants import BY_ID
from tests.engine import opened
from tests.gpu import modules
from tests.oracles import tiny, tiny_gguf
from tests.runtime import simulated

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


def test_nodes_lay_out_the_rows_that_they_will_read(pair, monkeypatch):
    """Each node's threads the same part of every matrix; what comes out is as on one node, byte for byte."""
    kept, done = {}, []
    monkeypatch.setattr("runtime.nodes.keep_to", lambda node: kept.update({threading.get_ident(): node.number}))
    monkeypatch.setattr("llamafile.gguf.repack.PIECE", 10000)
    real = repack_module._lay_out

    def lay_out(file, tensor, target, first, rows):
        done.append((kept[threading.get_ident()], tensor, first, rows))
        real(file, tensor, target, first, rows)

    plain, _ = pair("mixtral", "Q4_0")
    with open_path(plain) as alone, open_path(plain) as file:
        repack(alone, 2)
        monkeypatch.setattr(repack_module, "_lay_out", lay_out)
        shares = nodes.plan(8, "distribute", nodes=simulated.nodes(4, 2)).shares()
        repack(file, 4, shares)
        assert bytes(file.mappings[-1].view) == bytes(alone.mappings[-1].view)
    assert {node for node, *_ in done} == {0, 1, 2, 3}
    for node, tensor, first, rows in done:
        begin, end = first % tensor.ne[1], first % tensor.ne[1] + rows
        assert tensor.ne[1] * node / 4 - 16 < begin and end <= tensor.ne[1] * (node + 1) / 4, (tensor.name, first)


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
