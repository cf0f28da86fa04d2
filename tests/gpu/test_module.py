"""The calls of a module on the emulated card: memory, faults, several cards, copies larger than their slots."""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys

import numpy as np
import pytest

from .card import Card, Facts, Fault
from .compiled import ROOT
from .conftest import DEVICE

emulated = pytest.mark.skipif(DEVICE != "cuda-emulated", reason="asks for what only the emulated card pretends")


def test_the_module_says_what_it_was_made_from(card):
    number = re.search(r"LF_ABI (0x\w+)ull", (ROOT / "build" / "generated" / "abi.h").read_text()).group(1)
    assert card.table.abi == int(number, 16)
    assert card.table.kind.decode() == DEVICE
    facts = Facts()
    assert card.table.memory(card.handle, ctypes.byref(facts)) == 0
    assert 0 < facts.available <= facts.total
    assert facts.name and facts.arch.startswith(b"sm_")


@emulated
def test_cards_that_are_not_there(module_path, monkeypatch):
    monkeypatch.setenv("LF_EMULATED_DEVICES", "2")
    first, second = Card(module_path, 0), Card(module_path, 1)
    assert first.table.count() == 2
    with pytest.raises(Fault, match="choosing the card: invalid value"):
        Card(module_path, 2)
    first.close()
    second.close()
    monkeypatch.setenv("LF_EMULATED_DEVICES", "0")
    with pytest.raises(Fault):
        Card(module_path, 0)


@emulated
def test_a_card_that_is_full(module_path, monkeypatch):
    monkeypatch.setenv("LF_EMULATED_MEMORY", str(1 << 20))
    card = Card(module_path)
    assert card.table.alloc(card.handle, None, 2 << 20) is None
    got = card.table.alloc(card.handle, None, 700 << 10)
    assert got
    assert card.table.alloc(card.handle, None, 700 << 10) is None
    card.table.release(card.handle, got)
    got = card.table.alloc(card.handle, None, 700 << 10)
    assert got
    card.table.release(card.handle, got)
    # A stretch that wants more scratch than there is fails with a line, and the card works on.
    x, w = np.ones((600, 256), "f4"), np.ones((33, 256), "f2")
    with pytest.raises(Fault, match="scratch: out of memory"):
        card.op("matmul", x, w)
    card.free()
    (out,) = card.op("matmul", x[:9], w)
    np.testing.assert_array_equal(card.values(out), np.full((9, 33), 256, "f4"))
    card.close()


def test_copies_of_every_size(card):
    rng = np.random.default_rng(3)
    for size in (0, 1, 255, 4097, (8 << 20) - 1, 8 << 20, (40 << 20) + 3):
        data = rng.integers(0, 256, size).astype("u1")
        there, again = card.alloc(size), card.alloc(size)
        card.upload(there, data)
        data_before = data.copy()
        data[:] = 0  # the host's bytes may change as soon as upload returns
        card.copy(again, there, size)
        np.testing.assert_array_equal(card.download(again, size), data_before)
    for i in range(300):  # small ones, more than a slot holds
        part = np.full(40000, i % 251, "u1")
        card.upload(there + 40000 * i, part)
    for i in (0, 150, 299):
        assert (card.download(there + 40000 * i, 40000) == i % 251).all()


SEEDS = """
import sys
from tests.gpu.card import Card
from tests.runtime import cases
card = Card(sys.argv[1])
found = [cases.quantised_product(name, t, 140, 512) for name in ("q4_0", "q6_k", "q4_k") for t in (1, 5, 40)]
found += [cases.quantised_product("q5_1", 40, 20, 96), cases.float_product(40, "f16", 140, 192)]
found.append(cases.experts("q4_1", True))
found += [next(iter(cases.attention(rows, (6, 2, 64, 64, "f2")))) for rows in (1, 9)]
found += [*cases.norms((5, 576)), *cases.routing(), *cases.cells("f16")]
for case in found:
    case.check(card.case(case), 1.5e-3)
"""


@emulated
@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in (2, 3, 4))])
def test_no_result_hangs_on_the_order_of_threads(module_path, seed, monkeypatch):
    """Blocks, warps and lanes run in an order that the seed shuffles: a missing barrier shows as a wrong number."""
    monkeypatch.setenv("LF_EMULATED_SEED", str(seed))
    done = subprocess.run([sys.executable, "-c", SEEDS, str(module_path)], cwd=ROOT, capture_output=True, text=True)
    assert not done.returncode, done.stderr[-3000:]
