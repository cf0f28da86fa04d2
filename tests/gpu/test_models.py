"""Whole models on cards that are emulated on this processor (or the real one): they choose what the CPU chooses."""

from __future__ import annotations

import os

import numpy as np
import pytest

from gpu_modules.loader import Loader
from llamafile import gpu
from llamafile.gguf import layout
from llamafile.gguf.reader import open_path
from llamafile.offload import Offload
from runtime.build import BUILD
from tests.engine import opened
from tests.gpu.conftest import DEVICE
from tests.oracles.make_greedy import load

pytestmark = pytest.mark.models

KIND = {"cuda-emulated": "emulated"}.get(DEVICE, DEVICE)
#: Root mean square distance of two engines that both round activations to 8 bits: the CPU's own instruction sets differ
#: by up to 0.125, and each from F32 arithmetic by as much (SmolLM2, the first 40 tokens of "fact").
APART = 0.16
#: A choice may differ where the CPU's two candidates are that close; llama.cpp differs from itself by as much.
NEAR = 0.5


@pytest.fixture(scope="module")
def ready():
    """The module, found or built by the loader."""
    lines: list[str] = []
    environment = {**os.environ, "LLAMAFILE_CACHE": str(BUILD / "gpu-cache")}
    found = Loader(gpu.shelf(lines.append), environment).find(KIND)
    assert found.seen["cards"], lines
    return found


def logits(path, ids, offload=None, step=64, **options):
    """f32[len(ids), vocabulary]: most of it as a prompt, the last tokens one by one."""
    with opened.model(path, offload=offload) as model, \
            opened.session(model, len(ids) + 8, n_batch=step, all_logits=True, **options) as session:  # fmt: skip
        head = opened.feed(session, ids[:-4], step)
        return np.concatenate([head, opened.feed(session, ids[-4:], 1)])


def distance(ours, others):
    """Root mean square of what differs, but for what all of a row's logits have in common."""
    difference = ours - others
    difference -= difference.mean(-1, keepdims=True)
    return np.sqrt((difference**2).mean())


def agrees(ours, cpu):
    """Logits are as near to the CPU's as another engine's, and best choices differ only at near ties."""
    rms = distance(ours, cpu)
    every = np.arange(len(cpu))
    gap = cpu.max(-1) - cpu[every, ours.argmax(-1)]
    print(f"rms {rms:.4f}, {np.count_nonzero(gap)} of {len(cpu)} choices differ, at gaps up to {gap.max():.3f}")
    assert rms < APART
    assert gap.max() < NEAR
    assert np.count_nonzero(gap) <= 1 + 0.03 * len(cpu)


def tokens(name, count):
    kept = load("smollm2")[name]
    return [*kept.prompt.tolist(), *kept.ids.tolist()][:count]


@pytest.fixture(scope="module")
def of_cpu(smollm2):
    """The CPU's logits of tokens, computed once."""
    kept: dict = {}

    def give(name, count, cache):
        if (name, count, cache) not in kept:
            kept[name, count, cache] = logits(smollm2, tokens(name, count), cache_types=cache)
        return kept[name, count, cache]

    return give


def compare(ready, smollm2, of_cpu, layers, cards=1, count=40, name="fact", cache=("f16", "f16"), **options):
    there = gpu.opened(ready)
    offload = Offload(there[:cards], layers, **options)
    for card in there[cards:]:
        card.close()
    assert len(offload.cards) == cards
    agrees(logits(smollm2, tokens(name, count), offload, cache_types=cache), of_cpu(name, count, cache))
    assert offload.count == min(layers, 31)


def test_weights_laid_out_are_brought_as_plain_rows(ready, smollm2, tmp_path):
    """A file laid out for processors gives the very bits on a card that the plain file gives there."""
    laid = tmp_path / "laid.gguf"
    with open_path(smollm2) as file, open(laid, "wb") as out:
        out.writelines(layout.file_bytes(file, 0, True))
    ids, found = tokens("fact", 12), []
    for path in (smollm2, laid):
        there = gpu.opened(ready)
        for card in there[1:]:
            card.close()
        offload = Offload(there[:1], 1)
        found.append(logits(path, ids, offload))
        assert offload.count == 1
    assert np.array_equal(*found)


@pytest.mark.parametrize(("layers", "count"), [(1, 40), (999, 16)])
def test_first_choices_are_the_cpus(ready, smollm2, of_cpu, layers, count):
    compare(ready, smollm2, of_cpu, layers, count=count)


def test_two_cards(ready, smollm2, of_cpu, monkeypatch):
    monkeypatch.setenv("LF_EMULATED_DEVICES", "2")
    if KIND != "emulated":
        pytest.skip("the machine's own cards are as many as they are")
    compare(ready, smollm2, of_cpu, 6, cards=2, shares=(1, 2), count=16)


@pytest.mark.long
def test_two_cards_have_all(ready, smollm2, of_cpu, monkeypatch):
    monkeypatch.setenv("LF_EMULATED_DEVICES", "2")
    if KIND != "emulated":
        pytest.skip("the machine's own cards are as many as they are")
    compare(ready, smollm2, of_cpu, 999, cards=2)


@pytest.mark.long
@pytest.mark.parametrize(("name", "layers"), [*(("fact", n) for n in (0, 1, 7, 29, 30, 999)), ("list", 999)])
def test_long_texts(ready, smollm2, of_cpu, name, layers):
    compare(ready, smollm2, of_cpu, layers, count=90, name=name)


@pytest.mark.long
@pytest.mark.parametrize("cache", [("q8_0", "q8_0"), ("f32", "f32")])
def test_formats_of_the_cache(ready, smollm2, of_cpu, cache):
    compare(ready, smollm2, of_cpu, 999, count=40, cache=cache)


@pytest.mark.long
def test_a_coarse_cache_loses_no_more_than_on_the_cpu(ready, smollm2, of_cpu):
    """Keys of four bits move logits more than engines differ (0.74): both are held against half floats."""
    coarse = ("q4_0", "f16")
    exact, cpu = of_cpu("fact", 40, ("f16", "f16")), of_cpu("fact", 40, coarse)
    ours = logits(smollm2, tokens("fact", 40), Offload(gpu.opened(ready), 999), cache_types=coarse)
    lost, lost_here = distance(cpu, exact), distance(ours, exact)
    print(f"lost {lost_here:.4f}, on the CPU {lost:.4f}; apart {distance(ours, cpu):.4f}")
    assert lost_here < 1.2 * lost
    assert distance(ours, cpu) < lost


@pytest.mark.long
def test_the_cache_stays_with_the_cpu(ready, smollm2, of_cpu):
    compare(ready, smollm2, of_cpu, 999, cache_on_cpu=True)
