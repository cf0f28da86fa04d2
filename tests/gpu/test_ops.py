"""Every op of the instruction set on a GPU module, against the op's numpy body, with guards around every tensor."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.ops import OPS
from runtime.quants import FORMATS
from tests.runtime import cases
from tests.runtime.cases import QUANTS, Case, Cells, Quantized, rng_of

from .card import Card

FLOATS = ["f32", "f16", "bf16"]
CACHES = ["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "iq4_nl"]
# How coarsely products of many columns with floats, and attention over half floats, may be computed.
HALF, TWO_BF16 = 1.5e-3, 1e-4


def check(card, case, tolerance=0.0):
    """Run a case and compare every output with the body's."""
    case.check(card.case(case), tolerance)


@pytest.mark.parametrize("shape", cases.ELEMENTWISE)
def test_elementwise(card, shape):
    for case in cases.elementwise(shape):
        check(card, case)


def test_extreme_values_of_activations(card):
    for case in cases.extreme_values():
        check(card, case)
        x, one = (o[:, :-2].copy() for o in case.operands)
        assert np.isfinite(card.case(Case("geglu", (x, one)))).all()


@pytest.mark.parametrize("shape", cases.NORMS)
def test_norms(card, shape):
    for case in cases.norms(shape):
        check(card, case)


@pytest.mark.parametrize("shape", [(1, 32), (3, 64), (5, 576), (2, 3, 4096)])
def test_integer_activations_are_those_of_the_body(card, shape):
    """A matrix of ones on the diagonal, in a format that holds ones, brings the numbers back exactly."""
    x = rng_of(shape).normal(0, 3, shape).astype("f4")
    x.reshape(-1, shape[-1])[0, :32] = 0
    k = shape[-1]
    raw = np.zeros((k, k // 32, 34), "u1")
    raw[:, :, :2] = np.frombuffer(np.float16(1).tobytes(), "u1")
    for i in range(k):
        raw[i, i // 32, 2 + i % 32] = 1
    (quantized,) = card.op("quantize_rows", x.reshape(-1, k))
    (out,) = card.op("matmul_quantized", quantized, card.place("q8_0", (k, k), raw))
    want = OPS["quantize_rows"].reference(x.reshape(-1, k))
    np.testing.assert_array_equal(card.values(out), want)


@pytest.mark.parametrize("t", [1, 2, 7, 8, 9, 33])
@pytest.mark.parametrize("name", FLOATS)
def test_float_products(card, t, name):
    check(card, cases.float_product(t, name))


@pytest.mark.parametrize("t", [1, 3, 40, 130])
@pytest.mark.parametrize("name", FLOATS)
def test_float_products_of_ordinary_sizes(card, t, name):
    coarse = {"f32": 0.0, "f16": HALF, "bf16": TWO_BF16}[name]
    check(card, cases.float_product(t, name, n=150, k=192), coarse if t > 8 else 0.0)


@pytest.mark.parametrize("name", QUANTS)
@pytest.mark.parametrize("t", [1, 2, 3, 8, 21, 70])
def test_quantised_products(card, name, t):
    check(card, cases.quantised_product(name, t), HALF if t > 32 else 0.0)


@pytest.mark.parametrize("name", QUANTS)
def test_quantised_products_of_larger_matrices(card, name):
    for t, n, k in ((1, 133, 2304), (5, 70, 1280), (150, 140, 768), (40, 20, 1312)):
        check(card, cases.quantised_product(name, t, n, k), HALF if t > 32 else 0.0)


@pytest.mark.parametrize("name", [*QUANTS, "f32", "f16"])
def test_few_columns_do_not_change_a_bit(card, name):
    """One column alone is what it is among up to eight; with weights in a block format among up to 32."""
    rng = rng_of(name)
    n, k = 45, 256
    x = rng.normal(0, 2, (32 if name in QUANTS else 8, k)).astype("f4")
    w = cases.Block(name, (n, k), rng) if name in QUANTS else cases.dense(name, (n, k), rng)

    def product(rows):
        case = Case("matmul_quantized", (Quantized(rows), w)) if name in QUANTS else Case("matmul", (rows, w))
        return card.case(case)[0]

    whole = product(x)
    for t in (1, 2, 3, 5, *((8, 9) if name in QUANTS else ())):
        np.testing.assert_array_equal(product(x[:t]), whole[:t])


@pytest.mark.parametrize("name", ["q4_0", "q6_k", "q4_k", "f16"])
def test_the_same_again_is_the_same_to_the_bit(card, name):
    case = cases.quantised_product(name, 70, 140, 512) if name in QUANTS else cases.float_product(70, name, 140, 256)
    first = card.case(case)[0]
    np.testing.assert_array_equal(card.case(case)[0], first)


@pytest.mark.parametrize("name", [*QUANTS, *FLOATS])
@pytest.mark.parametrize("shared", [True, False])
def test_experts(card, name, shared):
    coarse = {"f16": HALF, "bf16": TWO_BF16}.get(name, 0.0)
    check(card, cases.experts(name, shared, t=1))
    check(card, cases.experts(name, shared), coarse)


@pytest.mark.parametrize("name", QUANTS)
def test_experts_of_many_rows_each(card, name):
    """At least 96 rows an expert: the wide tiles of integer products."""
    check(card, cases.experts(name, True, t=150, m=2, e=3, n=133, k=512))
    check(card, cases.experts(name, False, t=101, m=1, e=1, n=40))


def test_experts_that_nobody_chose(card):
    check(card, cases.experts("q4_0", True, t=70, m=2, e=40, n=130))
    check(card, cases.experts("q4_k", False, t=90, m=1, e=3, n=33))


def test_more_experts_than_threads_sort(card):
    check(card, cases.experts("q8_0", True, t=20, m=3, e=1100, n=9, k=64))


def test_routing(card):
    for case in cases.routing():
        check(card, case)


def test_rows(card):
    for case in cases.rows():
        check(card, case)


@pytest.mark.parametrize("name", ["f32", "f16"])
def test_cache_cells(card, name):
    for case in cases.cells(name):
        check(card, case)


# The root mean square of the error, in units of the values', that each format may leave.
LOSS = {"f32": 0, "f16": 4e-4, "bf16": 3e-3, "q8_0": 7e-3, "q4_0": 0.09, "q4_1": 0.085, "q5_0": 0.047, "q5_1": 0.042,
        "iq4_nl": 0.1}  # fmt: skip


@pytest.mark.parametrize("name", CACHES)
def test_caches_of_every_format_keep_what_is_stored(card, name):
    rng = rng_of("loss", name)
    x = rng.normal(0, 2, (7, 3, 64)).astype("f4")
    x[2, 1] = 0
    cells = np.array([3, 63, 0, 9, 10, 30, 31], "i4")
    cache = card.place(name, (64, 3, 64), np.zeros(64 * 3 * FORMATS[name].row_size(64), "u1"))
    card.op("store", x, cache, cells)
    held = card.values(cache).astype("f4")
    others = np.setdiff1d(np.arange(64), cells)
    assert not held[others].any()
    assert np.sqrt(((held[cells] - x) ** 2).mean()) <= LOSS[name] * 2
    np.testing.assert_array_equal(held[cells][2, 1], 0)
    card.op("move_cells", cache, np.array([3, 4], "i4"), np.array([4, 5], "i4"))
    np.testing.assert_array_equal(card.values(cache)[5], card.values(cache)[3])
    table = OPS["rotation"].reference(np.array([1, -3], "i4"), np.ones(16, "f4"))
    want = OPS["rope_cells"].reference(card.values(cache).astype("f4"), table, np.array([63, 0]), halves=0)
    card.op("rope_cells", cache, table, np.array([63, 0], "i4"), halves=0)
    got = card.values(cache).astype("f4")
    assert np.sqrt(((got - want)[[63, 0]] ** 2).mean()) <= LOSS[name] * 2 + 1e-5
    np.testing.assert_array_equal(got[1:63], want[1:63])


@pytest.mark.parametrize("halves", [0, 1])
def test_rotation(card, halves):
    for case in cases.rotation(halves):
        check(card, case)


@pytest.mark.parametrize("rows", [1, 5, 40])
@pytest.mark.parametrize("shape", cases.ATTENTION_SHAPES)
def test_attention(card, rows, shape):
    for case in cases.attention(rows, shape):
        check(card, case, HALF if shape[-1] == "f2" else 0.0)


@pytest.mark.parametrize("name", ["q8_0", "q4_0", "q5_1", "iq4_nl"])
def test_attention_over_quantised_cells(card, name):
    for rows in (1, 20):
        case = next(iter(cases.attention(rows, (8, 2, 64, 64, name))))
        check(card, case, HALF)


@pytest.mark.parametrize("size", [64, 80, 96, 128, 256])
def test_attention_of_every_head_size(card, size):
    for rows, heads, kv in ((1, 8, 1), (2, 4, 4), (30, 6, 2)):
        for case in list(cases.attention(rows, (heads, kv, size, size, "f2")))[:3]:
            check(card, case, HALF)


@pytest.mark.parametrize("shape", [(8, 2, 64, 64, "f2"), (4, 2, 256, 256, "f2"), (4, 4, 40, 24, "f4")])
def test_attention_of_short_texts_in_a_long_cache(card, shape):
    """Sequences share out the pages that they have, however many they may come to have."""
    for rows in (1, 30):
        *operands, pages, where = cases.sequences(rng_of("short", rows), rows, *shape)
        long = np.pad(pages, ((0, 0), (0, 200)))
        for attrs in ({}, {"window": 9}):
            coarse = HALF if shape[-1] == "f2" else 0.0
            check(card, Case("attention", (*operands, long, where), {"scale": 0.125} | attrs, 2e-5), coarse)


def test_attention_of_rows_that_see_nothing(card):
    """A row whose cells all lie behind its window, or an empty sequence, comes out as zeros."""
    q, k, v, positions, starts, _, pages, where = cases.sequences(rng_of("none"), 3, 4, 2, 64, 64, "f2")
    empty = np.array([0, 70], "i4")
    (got,) = card.case(Case("attention", (q, k, v, positions, starts, empty, pages, where), {"scale": 1.0}))
    assert not got[:3].any() and np.isfinite(got).all()
    far = positions + 5000
    (got,) = card.case(Case("attention", (q, k, v, far, starts, np.array([700, 70], "i4"), pages, where),
                            {"scale": 1.0, "window": 9}))  # fmt: skip
    assert not got.any()


def test_empty_calls(card):
    """No rows at all is no fault."""
    x = np.zeros((0, 64), "f4")
    for name, operands, attrs in (
        ("add", (x, x), {}), ("rms_norm", (x, np.ones(64, "f4")), {"eps": 1e-5}),
        ("matmul", (x, np.ones((3, 64), "f4")), {}),
        ("quantize_rows", (x,), {}), ("embed", (np.zeros(0, "i4"), np.ones((3, 64), "f4")), {}),
    ):  # fmt: skip
        assert card.case(Case(name, operands, attrs))[0].size == 0


def test_a_stretch_is_captured_and_repeated(card):
    """With a number a stretch becomes a launch graph when it comes again; the data may change, the result follows."""
    x, w = rng_of("graph").normal(0, 1, (2, 96)).astype("f4"), rng_of("w").normal(0, 1, (40, 96)).astype("f2")
    placed = card.put(x)
    outs, operands, attrs = card.record("matmul", (placed, w), {})
    more, scaled, by = card.record("scale", (outs[0],), {"by": 2.0})
    stretch = card.stretch(("matmul", outs, operands, attrs), ("scale", more, scaled, by), same=77)
    for turn in range(1, 5):
        card.upload(placed.address, x * turn)
        card.run(stretch)
        np.testing.assert_allclose(card.values(more[0]), (x * turn) @ w.astype("f4").T * 2, rtol=1e-4, atol=1e-4)


def test_views_with_gaps(card):
    """Operands may be slices of wider rows: a fused tensor's parts."""
    rng = rng_of("gaps")
    wide = rng.normal(0, 1, (5, 3, 100)).astype("f4")
    whole = card.put(wide)
    view = whole.view()
    view.data, view.ne[0] = whole.address + 4 * 32, 64
    whole.view = lambda: view
    whole.shape = (5, 3, 64)
    part = wide[:, :, 32:96]
    (out,) = card.op("scale", whole, by=3.0)
    np.testing.assert_allclose(card.values(out), part * 3, rtol=1e-6)
    (out,) = card.op("rms_norm", whole, np.ones(64, "f4"), eps=1e-5)
    want = OPS["rms_norm"].reference(part, np.ones(64, "f4"), eps=1e-5)
    np.testing.assert_allclose(card.values(out), want, rtol=1e-5)
    table = OPS["rotation"].reference(np.arange(5, dtype="i4"), np.ones(32, "f4"))
    (out,) = card.op("rope", whole, table, halves=1)
    np.testing.assert_allclose(card.values(out), OPS["rope"].reference(part, table, halves=1), rtol=1e-5, atol=1e-5)
    cache = Cells(np.zeros((64, 3, 64), "f4"), "f32")
    (out,) = card.op("store", whole, cache, np.arange(5, dtype="i4"))
    np.testing.assert_array_equal(card.values(out)[:5], part)


def test_scratch_grows_before_anything_runs(module_path):
    """What a stretch reads may be overwritten later in it: it cannot be begun a second time with more scratch."""
    rng = rng_of("scratch")
    x, w = rng.normal(0, 1, (40, 64)).astype("f4"), rng.normal(0, 1, (33, 64)).astype("f2")
    fresh = Card(module_path)
    try:
        placed, moved = fresh.put(x), fresh.place("f32", (40, 64))
        by = [fresh.record("scale", (placed,), {"by": number})[2] for number in (3.0, 0.0)]
        outs, operands, attrs = fresh.record("matmul", (moved, w), {})
        fresh.run(fresh.stretch(("scale", [moved], [placed], by[0]), ("scale", [placed], [placed], by[1]),
                                ("matmul", outs, operands, attrs)))  # fmt: skip
        np.testing.assert_allclose(fresh.values(outs[0]), 3 * x @ w.astype("f4").T, rtol=1e-2, atol=0.1)
    finally:
        fresh.close()
