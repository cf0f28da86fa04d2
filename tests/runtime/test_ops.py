"""Every op on every instruction set that this machine runs, against the op's numpy body."""

from __future__ import annotations

import numpy as np
import pytest

from runtime import cpu
from runtime.ops import OPS, PAGE
from runtime.quants import FORMATS

from .machine import Block, Machine

ISAS = cpu.available()
QUANTS = [f.name for f in FORMATS.values() if f.computed and f.group]


@pytest.fixture(autouse=True)
def _restore_isa():
    yield
    cpu.choose(ISAS[-1])


def rng_of(*key):
    """A generator seeded by the case, so that a failure can be repeated."""
    return np.random.default_rng(sum(map(ord, repr(key))))


def check(isa, name, operands, attrs, tolerance, threads=1):
    """Run one op and compare every output with the body's."""
    machine = Machine()
    outs = machine.op(name, *operands, **attrs)
    outs = outs if isinstance(outs, tuple) else (outs,)
    got = machine.run(*outs, isa=isa, threads=threads)
    plain = [o.values if isinstance(o, Block) else o for o in operands]
    want = OPS[name].reference(*plain, **attrs)
    for g, w in zip(got, want if isinstance(want, tuple) else (want,)):
        np.testing.assert_allclose(g, w, rtol=tolerance, atol=tolerance * max(1e-3, float(np.abs(w).max())))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 33), (3, 64), (5, 577), (37, 96)])
@pytest.mark.parametrize("threads", [1, 3])
def test_elementwise(isa, shape, threads):
    rng = rng_of(shape)
    x, y = rng.normal(0, 3, shape).astype("f4"), rng.normal(0, 3, shape).astype("f4")
    for name in ("add", "mul", "swiglu", "geglu"):
        check(isa, name, (x, y), {}, 2e-6 if name in ("add", "mul") else 1e-5, threads)
    check(isa, "add_row", (x, y[0]), {}, 1e-6, threads)
    check(isa, "scale", (x,), {"by": 0.37}, 1e-6, threads)
    check(isa, "softcap", (x,), {"cap": 5.0}, 1e-5, threads)


@pytest.mark.parametrize("isa", ISAS)
def test_extreme_values_of_activations(isa):
    x = np.array([[-1e30, -200, -88, -0.0, 0, 1e-30, 88, 200, 1e30]], "f4")
    one = np.ones_like(x)
    check(isa, "swiglu", (x, one), {}, 1e-5)
    machine = Machine()
    (got,) = machine.run(machine.op("geglu", x[:, :-2], one[:, :-2]), isa=isa)
    assert np.isfinite(got).all()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("shape", [(1, 64), (5, 576), (2, 3, 100), (9, 4097)])
def test_norms(isa, shape):
    rng = rng_of(shape)
    x, y = rng.normal(0, 9, shape).astype("f4"), rng.normal(0, 9, shape).astype("f4")
    w = rng.normal(1, 0.5, shape[-1]).astype("f4")
    check(isa, "rms_norm", (x, w), {"eps": 1e-5}, 2e-6, 2)
    if len(shape) == 2:
        check(isa, "add_rms_norm", (x, y, w), {"eps": 1e-5}, 2e-6, 2)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("t", [1, 2, 7, 8, 9, 33])
@pytest.mark.parametrize("dtype", ["f4", "f2", "bf16"])
def test_float_products(isa, t, dtype):
    rng = rng_of(t, dtype)
    n, k = 37, 77 if dtype != "bf16" else 80
    x = rng.normal(0, 1, (t, k)).astype("f4")
    w = Block("bf16", (n, k), rng) if dtype == "bf16" else rng.normal(0, 1, (n, k)).astype(dtype)
    if dtype == "bf16":
        w.raw = (rng.normal(0, 1, (n, k)).astype("<f4").view("<u4") >> 16).astype("<u2").view("u1").reshape(-1, 2)
        w.values = w.format.decode(w.raw).reshape(n, k)
    check(isa, "matmul", (x, w), {}, 3e-6, 2)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", QUANTS)
@pytest.mark.parametrize("t", [1, 3, 8, 21])
def test_quantised_products(isa, name, t):
    """The integer form of activations is the same in the body and in C, so only the order of f32 sums differs."""
    rng = rng_of(name, t)
    n, k = 19, max(96, FORMATS[name].block * 3)
    x, w = rng.normal(0, 2, (t, k)).astype("f4"), Block(name, (n, k), rng)
    machine = Machine()
    (got,) = machine.run(machine.op("matmul_quantized", machine.op("quantize_rows", x), w), isa=isa, threads=2)
    want = OPS["matmul_quantized"].reference(OPS["quantize_rows"].reference(x), w.values)
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5 * np.abs(want).max())


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", [*QUANTS, "f32", "f16"])
def test_columns_and_threads_do_not_change_a_bit(isa, name):
    """The canonical numeric: one column alone, or among any number of others, on any number of threads."""
    rng = rng_of(name)
    n, k = 45, max(192, FORMATS[name].block)
    x = rng.normal(0, 2, (33, k)).astype("f4")
    dense = rng.normal(0, 1, (n, k)).astype("f2" if name == "f16" else "f4")
    w = Block(name, (n, k), rng) if name in QUANTS else dense

    def product(rows, threads):
        machine = Machine()
        if name in QUANTS:
            out = machine.op("matmul_quantized", machine.op("quantize_rows", rows), w)
        else:
            out = machine.op("matmul", rows, w)
        return machine.run(out, isa=isa, threads=threads)[0]

    whole = product(x, 1)
    for t, threads in ((33, 3), (8, 2), (5, 1), (1, 2)):
        np.testing.assert_array_equal(product(x[:t], threads), whole[:t])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", ["f32", "f16", "q4_0", "q6_k", "q4_1", "q2_k"])
@pytest.mark.parametrize("shared", [True, False])
def test_experts(isa, name, shared):
    rng = rng_of(name, shared)
    t, m, e, n, k = 41, 2, 5, 21, 256
    ids = np.argsort(rng.random((t, e)), axis=1)[:, :m].astype("i4")
    x = rng.normal(0, 1, (t, 1 if shared else m, k)).astype("f4")
    if name in QUANTS:
        w = Block(name, (e, n, k), rng)
        machine = Machine()
        out = machine.op("matmul_ids_quantized", machine.op("quantize_rows", x), w, ids)
        (got,) = machine.run(out, isa=isa, threads=2)
        want = OPS["matmul_ids"].reference(OPS["quantize_rows"].reference(x), w.values, ids)
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5 * np.abs(want).max())
    else:
        w = rng.normal(0, 1, (e, n, k)).astype({"f32": "f4", "f16": "f2"}[name])
        check(isa, "matmul_ids", (x, w, ids), {}, 3e-6, 2)


@pytest.mark.parametrize("isa", ISAS)
def test_routing(isa):
    rng = rng_of("route")
    logits = rng.normal(0, 2, (9, 8)).astype("f4")
    logits[3] = 1.0  # ties: the lower id first
    for normalize in (0, 1):
        check(isa, "route", (logits,), {"used": 3, "normalize": normalize}, 1e-5, 2)
    parts, weights = rng.normal(0, 1, (9, 3, 70)).astype("f4"), rng.random((9, 3)).astype("f4")
    check(isa, "weighted_sum", (parts, weights), {}, 1e-5, 2)


@pytest.mark.parametrize("isa", ISAS)
def test_rows(isa):
    rng = rng_of("rows")
    ids = np.array([4, 0, 4, 9], "i4")
    for name in ("f32", "f16", *QUANTS):
        block = FORMATS[name].block
        table = rng.normal(0, 1, (10, 96)).astype({"f32": "f4", "f16": "f2"}[name]) if block == 1 else None
        check(isa, "embed", (ids, Block(name, (10, max(96, block)), rng) if table is None else table), {}, 1e-6, 2)
    check(isa, "take_rows", (rng.normal(0, 1, (10, 33)).astype("f4"), ids), {}, 0, 2)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", ["f4", "f2"])
def test_cache_cells(isa, dtype):
    rng = rng_of("cells")
    rows = rng.normal(0, 1, (5, 2, 40)).astype("f4")
    cells = np.array([7, 3, 63, 0, 12], "i4")
    name = {"f4": "f32", "f2": "f16"}[dtype]
    for op, operands, attrs in (
        ("store", lambda c: (rows, c, cells), {}),
        ("move_cells", lambda c: (c, np.arange(10, 30, dtype="i4"), np.arange(4, 24, dtype="i4")), {}),
        ("rope_cells", lambda c: (c, rng_of("t").normal(0, 1, (5, 20, 2)).astype("f4"), cells), {"halves": 1}),
    ):
        before = rng.normal(0, 1, (64, 2, 40)).astype(dtype)
        machine = Machine()
        (got,) = machine.run(machine.op(op, *operands(machine.cache(before, name)), **attrs), isa=isa, threads=2)
        want = OPS[op].reference(*operands(before.copy()), **attrs)
        np.testing.assert_allclose(got.astype("f4"), want.astype("f4"), rtol=1e-3 if dtype == "f2" else 1e-6, atol=1e-5)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("halves", [0, 1])
def test_rotation(isa, halves):
    rng = rng_of("rope")
    positions = np.array([0, 1, 17, 131071], "i4")
    frequencies = (10000.0 ** -(np.arange(24) / 24)).astype("f4")
    check(isa, "rotation", (positions, frequencies), {"magnitude": 1.2}, 1e-6, 2)
    table = OPS["rotation"].reference(positions, frequencies)
    check(isa, "rope", (rng.normal(0, 1, (4, 3, 64)).astype("f4"), table), {"halves": halves}, 1e-6, 2)


def attention_case(rng, rows, heads, kv_heads, size, value_size, dtype="f4"):
    """Operands for two sequences: one of 700 cells (two splits), one of 70, pages out of order."""
    lengths = np.array([700, 70], "i4")
    pages = np.zeros((2, 11), "i4")
    order = rng.permutation(13)
    pages[0], pages[1, :2] = order[:11], order[11:]
    where = np.full(13 * PAGE, 10**6, "i4")
    for s, n in enumerate(lengths):
        cells = (pages[s][: -(-n // PAGE), None] * PAGE + np.arange(PAGE)).reshape(-1)[:n]
        where[cells] = np.arange(n)
    starts = np.array([0, rows, rows + 2], "i4")
    positions = np.concatenate([np.arange(700 - rows, 700), np.arange(68, 70)]).astype("i4")
    q = rng.normal(0, 1, (rows + 2, heads, size)).astype("f4")
    k = rng.normal(0, 1, (13 * PAGE, kv_heads, size)).astype(dtype)
    v = rng.normal(0, 1, (13 * PAGE, kv_heads, value_size)).astype(dtype)
    return q, k, v, positions, starts, lengths, pages, where


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("rows", [1, 5, 40])
def test_attention(isa, rows):
    rng = rng_of(rows)
    for heads, kv, size, value_size, dtype in ((6, 2, 64, 64, "f4"), (4, 4, 40, 24, "f4"), (9, 3, 64, 64, "f2")):
        case = attention_case(rng, rows, heads, kv, size, value_size, dtype)
        for attrs in ({}, {"window": 100}, {"cap": 2.0}, {"causal": 0}):
            check(isa, "attention", case, {"scale": 0.125, "window": 0, "cap": 0.0, "causal": 1} | attrs, 2e-5, 2)
        slopes = (2.0 ** -np.arange(1, heads + 1)).astype("f4")
        check(isa, "attention", (*case, slopes), {"scale": 0.125}, 2e-5, 2)


@pytest.mark.parametrize("isa", ISAS)
def test_attention_is_the_same_alone_and_in_a_batch(isa):
    """A row's result does not depend on the schedule (few rows: by splits; many: by tiles) or on threads."""
    rng = rng_of("batch")
    q, k, v, positions, _, lengths, pages, where = attention_case(rng, 40, 6, 2, 64, 64)

    def run(first, last, threads):
        machine = Machine()
        out = machine.op("attention", q[first:last], k, v, positions[first:last], np.array([0, last - first], "i4"),
                         lengths[:1], pages[:1], where, scale=0.125)
        return machine.run(out, isa=isa, threads=threads)[0]

    whole = run(0, 40, 1)
    np.testing.assert_array_equal(run(0, 40, 3), whole)
    for i in (0, 17, 39):
        np.testing.assert_array_equal(run(i, i + 1, 2), whole[i : i + 1])
