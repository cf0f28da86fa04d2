"""Weights laid out in panels give the bits of plain ones: every format and instruction set, any columns and threads."""

from __future__ import annotations

import numpy as np
import pytest

from runtime import cpu
from runtime.ops import RuntimeFault
from runtime.quants import FORMATS
from tests.quants.cases import in_panels

from .cases import QUANTS, Block, Case, Quantized, rng_of
from .machine import Machine

ISAS = cpu.available()


@pytest.fixture(autouse=True)
def _restore_isa():
    yield
    cpu.choose(ISAS[-1])


class LaidOut(Block):
    """The same weight, its bytes in panels."""

    def __init__(self, plain):
        self.format, self.shape, self.values = FORMATS[plain.format.name + "_r16"], plain.shape, plain.values
        self.raw = in_panels(plain.format, plain.raw, int(np.prod(plain.shape[:-1])))


def run(isa, case, threads=1):
    """The one output of an op."""
    machine = Machine()
    return machine.run(machine.op(case.name, *case.operands, **case.attrs), isa=isa, threads=threads)[0]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", QUANTS)
@pytest.mark.parametrize("blocks", [1, 3, 9])
def test_products(isa, name, blocks):
    rng = rng_of(name, blocks)
    k = blocks * FORMATS[name].block
    x = rng.normal(0, 2, (26, k)).astype("f4")
    for n in (16, 48, 80):
        plain = Block(name, (n, k), rng)
        laid = LaidOut(plain)
        for t, threads in ((1, 1), (1, 3), (2, 2), (5, 1), (6, 1), (7, 2), (12, 1), (26, 3)):
            case = Case("matmul_quantized", (Quantized(x[:t]), laid), tolerance=2e-5)
            got = run(isa, case, threads)
            np.testing.assert_array_equal(got, run(isa, Case(case.name, (Quantized(x[:t]), plain)), 1))
            case.check([got])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", QUANTS)
@pytest.mark.parametrize("t", [1, 41])
def test_experts(isa, name, t):
    rng = rng_of(name, t)
    k, e = max(256, FORMATS[name].block), 5
    ids = np.argsort(rng.random((t, e)), axis=1)[:, :2].astype("i4")
    x, plain = Quantized(rng.normal(0, 1, (t, 1, k)).astype("f4")), Block(name, (e, 48, k), rng)
    got = [run(isa, Case("matmul_ids_quantized", (x, w, ids)), 2) for w in (LaidOut(plain), plain)]
    np.testing.assert_array_equal(*got)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", QUANTS)
def test_rows_of_a_table(isa, name):
    table = Block(name, (64, 2 * FORMATS[name].block), rng_of(name))
    ids = np.array([0, 63, 17, 15, 16, 17], "i4")
    got = [run(isa, Case("embed", (ids, w)), 2) for w in (LaidOut(table), table)]
    np.testing.assert_array_equal(*got)


def test_what_cannot_be_laid_out_is_refused():
    plain = Block("q4_0", (32, 64), rng_of("bad"))
    ragged = LaidOut(plain)
    ragged.shape = (24, 64)
    for weight, fault in ((ragged, "whole panels"), (LaidOut(plain), "")):
        machine = Machine()
        product = machine.op("matmul_quantized", Quantized(np.ones((1, 64), "f4")), weight)
        if fault:
            with pytest.raises(RuntimeFault, match=fault):
                machine.run(product)
        else:
            view = machine.tensors[machine.ops[-1].inputs[1].index].view((16, 64), (64, 1))
            with pytest.raises(RuntimeFault, match="whole panels"):
                machine.run(machine.op("matmul_quantized", machine.ops[-1].inputs[0], view))
