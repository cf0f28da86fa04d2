"""Every op on every instruction set that this machine runs, against the op's numpy body."""

from __future__ import annotations

import numpy as np
import pytest

from runtime import cpu
from runtime.ops import OPS, PAGE, RuntimeFault
from runtime.quants import FORMATS
from tests.quants.cases import in_panels

from . import cases
from .cases import ATTENTION_SHAPES, CELL_SHAPES, QUANTS, Block, Case, Cells, Quantized, rng_of
from .machine import Machine

ISAS = cpu.available()


@pytest.fixture(autouse=True)
def _restore_isa():
    yield
    cpu.choose(ISAS[-1])


def run(isa, case, threads=1):
    """Run one op; returns its outputs."""
    machine = Machine()
    outs = machine.op(case.name, *case.operands, **case.attrs)
    return machine.run(*(outs if isinstance(outs, tuple) else (outs,)), isa=isa, threads=threads)


def check(isa, case, threads=1):
    """Run one op and compare every output with the body's."""
    case.check(run(isa, case, threads))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("shape", cases.ELEMENTWISE)
@pytest.mark.parametrize("threads", [1, 3])
def test_elementwise(isa, shape, threads):
    for case in cases.elementwise(shape):
        check(isa, case, threads)


@pytest.mark.parametrize("isa", ISAS)
def test_extreme_values_of_activations(isa):
    for case in cases.extreme_values():
        check(isa, case)
        x, one = (o[:, :-2] for o in case.operands)
        assert np.isfinite(run(isa, Case("geglu", (x, one)))).all()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("shape", cases.NORMS)
def test_norms(isa, shape):
    for case in cases.norms(shape):
        check(isa, case, 2)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("t", [1, 2, 7, 8, 9, 33])
@pytest.mark.parametrize("name", ["f32", "f16", "bf16"])
def test_float_products(isa, t, name):
    check(isa, cases.float_product(t, name), 2)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", ["f32", "f16", "bf16"])
def test_float_products_of_long_rows(isa, name):
    """Sums go on where they were when the next stretch of k comes."""
    check(isa, cases.float_product(33, name, n=38, k=1101), 2)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", QUANTS)
@pytest.mark.parametrize("t", [1, 3, 8, 21])
def test_quantised_products(isa, name, t):
    check(isa, cases.quantised_product(name, t), 2)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", [*QUANTS, "f32", "f16", "bf16"])
def test_columns_and_threads_do_not_change_a_bit(isa, name):
    """The canonical numeric: one column alone, or among any number of others, on any number of threads."""
    rng = rng_of(name)
    n, k = 45, 256 if name in QUANTS else 1040
    x = rng.normal(0, 2, (33, k)).astype("f4")
    w = Block(name, (n, k), rng) if name in QUANTS else cases.dense(name, (n, k), rng)

    def product(rows, threads):
        if name in QUANTS:
            return run(isa, Case("matmul_quantized", (Quantized(rows), w)), threads)[0]
        return run(isa, Case("matmul", (rows, w)), threads)[0]

    whole = product(x, 1)
    for t, threads in ((33, 3), (8, 2), (5, 1), (1, 2)):
        np.testing.assert_array_equal(product(x[:t], threads), whole[:t])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n", [1056, 1061])
def test_results_larger_than_a_cache_have_the_same_bits(isa, n):
    """Rows of such a result that are whole cache lines go past the caches; of 1061 values they are not."""
    rng = rng_of("large", n)
    x, w = rng.normal(0, 2, (512, 64)).astype("f4"), Block("q4_0", (n, 64), rng)
    whole = run(isa, Case("matmul_quantized", (Quantized(x), w)), 3)[0]
    for first, end in ((0, 33), (479, 512), (256, 257)):
        few = run(isa, Case("matmul_quantized", (Quantized(x[first:end]), w)), 1)[0]
        np.testing.assert_array_equal(few, whole[first:end])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", cases.QUANTS)
def test_largest_sums(isa, name):
    for byte in (0x00, 0x7F, 0x80, 0xFF):
        for t in (1, 3, 9, 20):
            check(isa, cases.largest_sums(name, byte, t))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", cases.EXPERTS)
@pytest.mark.parametrize("shared", [True, False])
def test_experts(isa, name, shared):
    check(isa, cases.experts(name, shared), 2)


@pytest.mark.parametrize("isa", ISAS)
def test_experts_that_most_rows_chose(isa):
    check(isa, cases.experts("q4_0", True, t=130, m=3, e=4, n=40), 2)  # some 98 rows each; 48 go in one pass


@pytest.mark.parametrize("isa", ISAS)
def test_routing(isa):
    for case in cases.routing():
        check(isa, case, 2)


@pytest.mark.parametrize("isa", ISAS)
def test_rows(isa):
    for case in cases.rows():
        check(isa, case, 2)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", ["f32", "f16"])
def test_cache_cells(isa, name):
    for case in cases.cells(name):
        check(isa, case, 2)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("halves", [0, 1])
def test_rotation(isa, halves):
    for case in cases.rotation(halves):
        check(isa, case, 2)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("rows", [1, 5, 40])
@pytest.mark.parametrize("shape", [*ATTENTION_SHAPES, *CELL_SHAPES])
def test_attention(isa, rows, shape):
    for case in cases.attention(rows, shape):
        check(isa, case, 2)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("heads", "kv"), [(6, 2), (32, 1)])
def test_attention_over_shared_pages(isa, heads, kv):
    """Sequences with common beginnings, and several rows of one: as the reference says, and bit for bit as alone."""
    rng = rng_of("shared")
    lengths = np.array([700, 640, 65, 130, 700, 514, 20, 512], "i4")
    pages = np.zeros((8, 11), "i4")
    pages[0] = rng.permutation(40)[:11]
    free = [page for page in range(40) if page not in pages[0]]
    for s, common in enumerate((11, 9, 1, 2, 8, 8, 0, 8)):  # of the first one's pages
        pages[s, :common] = pages[0, :common]
        for i in range(common, 11 if s else 0):
            pages[s, i] = free.pop() if i * PAGE < lengths[s] else 0
    where = np.full(40 * PAGE, 10**6, "i4")
    for s, n in enumerate(lengths):
        for i in range(-(-int(n) // PAGE)):
            where[pages[s, i] * PAGE :][:PAGE] = np.arange(i * PAGE, i * PAGE + PAGE)
    counts = [1, 2, 1, 1, 3, 1, 2, 1]
    starts = np.cumsum([0, *counts]).astype("i4")
    positions = np.concatenate([np.arange(n - c, n) for n, c in zip(lengths, counts, strict=True)]).astype("i4")
    q = rng.normal(0, 1, (starts[-1], heads, 64)).astype("f4")
    k, v = (rng.normal(0, 1, (40 * PAGE, kv, 64)).astype("f2") for _ in "kv")
    operands = (q, k, v, positions, starts, lengths, pages, where)
    for attrs in ({}, {"window": 100}):
        whole = {"scale": 0.125, "window": 0, "cap": 0.0, "causal": 1} | attrs
        check(isa, Case("attention", operands, whole, 2e-5), 2)

    def one(s, threads):
        machine = Machine()
        rows = slice(starts[s], starts[s + 1])
        out = machine.op("attention", q[rows], k, v, positions[rows], np.array([0, counts[s]], "i4"),
                         lengths[s : s + 1], pages[s : s + 1], where, scale=0.125)
        return machine.run(out, isa=isa, threads=threads)[0]

    alone = np.concatenate([one(s, 1) for s in range(8)])
    for threads in (1, 2, 3):
        machine = Machine()
        out = machine.op("attention", *operands, scale=0.125)
        np.testing.assert_array_equal(machine.run(out, isa=isa, threads=threads)[0], alone)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", ["f4", "f2", "q8_0"])
def test_attention_is_the_same_alone_and_in_a_batch(isa, dtype):
    """A row's result does not depend on the schedule (few rows: by splits; many: by tiles) or on threads."""
    q, k, v, positions, _, lengths, pages, where = cases.sequences(rng_of("batch"), 40, 6, 2, 64, 64, dtype)

    def attend(first, last, threads):
        starts = np.array([0, last - first], "i4")
        operands = (q[first:last], k, v, positions[first:last], starts, lengths[:1], pages[:1], where)
        return run(isa, Case("attention", operands, {"scale": 0.125}), threads)[0]

    whole = attend(0, 40, 1)
    np.testing.assert_array_equal(attend(0, 40, 3), whole)
    for i in (0, 17, 39):
        np.testing.assert_array_equal(attend(i, i + 1, 2), whole[i : i + 1])


def read_integers(machine, a8, width):
    """What lies in integer form, as floats: its product with the unit matrix."""
    unit = np.zeros((width, width // 32, 34), "u1")
    unit[:, :, :2] = np.array([1.0], "<f2").view("u1")
    rows = np.arange(width)
    unit[rows, rows // 32, 2 + rows % 32] = 1
    block = object.__new__(Block)
    block.format, block.shape, block.raw = FORMATS["q8_0"], (width, width), unit.reshape(-1, 34)
    return machine.op("matmul_quantized", a8, block)


def in_panels_of(plain):
    """A weight whose rows lie in panels."""
    block = object.__new__(Block)
    block.format, block.shape = FORMATS[plain.format.name + "_r16"], plain.shape
    block.raw = in_panels(plain.format, plain.raw, plain.shape[0])
    return block


def both_ways(isa, threads, joined, parts):
    """The results of one op and of those that it stands for; each is a function of a machine."""
    results = []
    for build in (joined, parts):
        machine = Machine()
        results.append(machine.run(*build(machine), isa=isa, threads=threads))
    return zip(*results, strict=True)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("shape", [(1, 64), (1, 576), (2, 4096), (37, 96)])
def test_seams_have_the_bits_of_their_parts(isa, threads, shape):
    """And those are near the seam's own numpy body."""
    rng = rng_of("seams", shape)
    x, y = rng.normal(0, 3, shape).astype("f4"), rng.normal(0, 3, shape).astype("f4")
    w = rng.normal(1, 0.5, shape[1]).astype("f4")
    for name, operands, attrs in (
        ("rms_norm", (x, w), {"eps": 1e-5}), ("add_rms_norm", (x, y, w), {"eps": 1e-5}),
        ("swiglu", (x, y), {}), ("geglu", (x, y), {}),
    ):  # fmt: skip
        floats = {"rms_norm": 1, "add_rms_norm": 2}.get(name, 0)

        def joined(machine, name=name, operands=operands, attrs=attrs, floats=floats):
            outs = machine.op(f"{name}_quantize", *operands, **attrs)
            *plain, integers = outs if floats else (outs,)
            return *plain, read_integers(machine, integers, shape[1])

        def parts(machine, name=name, operands=operands, attrs=attrs, floats=floats):
            outs = machine.op(name, *operands, **attrs)
            plain = outs if isinstance(outs, tuple) else (outs,)
            return *plain[:floats], read_integers(machine, machine.op("quantize_rows", plain[-1]), shape[1])

        want = OPS[f"{name}_quantize"].reference(*operands, **attrs)
        for (one, other), body in zip(
            both_ways(isa, threads, joined, parts), want if floats else (want,), strict=True
        ):
            np.testing.assert_array_equal(one, other)
            np.testing.assert_allclose(one, body, rtol=0, atol=np.abs(body).max() / 120)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("names", [*((name, name) for name in QUANTS), ("q4_k", "q6_k"), ("q6_k", "q4_0")])
def test_gated_products_have_the_bits_of_their_parts(isa, names):
    """For any number of columns and threads, weights in one format or two, and near the op's own numpy body."""
    rng = rng_of("gated", names)
    k, n = max(96, *(FORMATS[name].block for name in names)), 96
    gate, up = (Block(name, (n, k), rng) for name in names)
    x = rng.normal(0, 2, (127, k)).astype("f4")
    for t, threads, gelu in ((1, 2, 0), (2, 1, 1), (7, 3, 0), (13, 2, 1), (108, 1, 0), (109, 2, 0), (127, 3, 1)):
        rows, activation = Quantized(x[:t]), "geglu" if gelu else "swiglu"

        def joined(machine, rows=rows, gelu=gelu):
            return (read_integers(machine, machine.op("gated_products", rows, gate, up, gelu=gelu), n),)

        def parts(machine, rows=rows, activation=activation):
            integers = machine.op("quantize_rows", rows.rows)
            products = [machine.op("matmul_quantized", integers, w) for w in (gate, up)]
            return (read_integers(machine, machine.op(f"{activation}_quantize", *products), n),)

        for one, other in both_ways(isa, threads, joined, parts):
            np.testing.assert_array_equal(one, other)
            want = OPS["gated_products"].reference(rows.values, gate.values, up.values, gelu=gelu)
            np.testing.assert_allclose(one, want, rtol=0, atol=np.abs(want).max() / 120)


@pytest.mark.parametrize("isa", ISAS)
def test_gated_products_of_laid_out_weights(isa):
    rng = rng_of("gated, laid out")
    plain = [Block(name, (64, 256), rng) for name in ("q4_k", "q8_0")]
    laid = [in_panels_of(block) for block in plain]
    x = rng.normal(0, 2, (40, 256)).astype("f4")
    for t, threads in ((1, 2), (4, 1), (40, 3)):

        def way(machine, some, t=t):
            return (read_integers(machine, machine.op("gated_products", Quantized(x[:t]), *some), 64),)

        ways = [lambda machine, some=some, way=way: way(machine, some) for some in (laid, plain)]
        for one, other in both_ways(isa, threads, *ways):
            np.testing.assert_array_equal(one, other)


def test_gated_products_end_in_whole_blocks():
    """C refuses what the kernel could not write."""
    rng = rng_of("gated, refused")
    weights = [Block("q4_0", (48, 64), rng) for _ in range(2)]
    machine = Machine()
    out = machine.op("gated_products", Quantized(np.ones((1, 64), "f4")), *weights)
    with pytest.raises(RuntimeFault, match="48 rows are no whole number of blocks"):
        machine.run(out)
    machine = Machine()
    out = machine.op("gated_products", Quantized(np.ones((1, 64), "f4")), *(np.ones((64, 64), "f4"),) * 2)
    with pytest.raises(RuntimeFault, match="have no integer form"):
        machine.run(out)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", ["f32", "f16"])
@pytest.mark.parametrize("halves", [0, 1])
def test_a_rotation_and_its_store(isa, name, halves):
    rng = rng_of("rope store", name)
    x, table = rng.normal(0, 1, (5, 2, 40)).astype("f4"), rng.normal(0, 1, (5, 18, 2)).astype("f4")
    before = rng.normal(0, 1, (64, 2, 40)).astype({"f32": "f4", "f16": "f2"}[name])
    where = np.array([7, 3, 63, 0, 12], "i4")
    operands = (x, table, Cells(before, name), where)
    check(isa, Case("rope_store", operands, {"halves": halves}, 1e-3 if name == "f16" else 1e-6, 1e-5), 2)

    def parts(machine):
        return (machine.op("store", machine.op("rope", x, table, halves=halves), Cells(before, name), where),)

    ways = both_ways(isa, 3, lambda machine: (machine.op("rope_store", *operands, halves=halves),), parts)
    for one, other in ways:
        np.testing.assert_array_equal(one, other)
