"""Neighbouring ops that a module launches as one: the results are those of the ops alone, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.ops import OPS
from tests.runtime.cases import Block, rng_of

from .card import Operand, a8_stride, words_of


def chain(card, *ops):
    """Run ops (name, outputs, operands, attributes) as one stretch, then one by one; both results of all outputs."""
    found = []
    for together in (True, False):
        for _, outs, _, _ in ops:
            for out in outs:
                card.upload(out.address, np.full(out.nbytes, 0xFF, "u1"))
        records = []
        for name, outs, operands, attrs in ops:
            operands = [*operands, *[None] * (len(OPS[name].inputs) - len(operands))]
            records.append((name, outs, operands, words_of(OPS[name], {**OPS[name].defaults, **attrs})))
        for part in ([records] if together else [[record] for record in records]):
            card.run(card.stretch(*part))
        found.append([card.values(out).copy() for _, outs, _, _ in ops for out in outs])
    return found


def same(found, *finite):
    """Both ways gave the same bits, and numbers where numbers are expected."""
    for i, (a, b) in enumerate(zip(*found)):
        assert np.array_equal(a.reshape(-1).view("u1"), b.reshape(-1).view("u1")), f"output {i}"
    assert all(np.isfinite(found[0][i]).all() for i in finite)


@pytest.mark.parametrize("t", [1, 3, 8, 9])
def test_products_of_the_same_activations(card, t):
    rng = rng_of("joined", t)
    x = card.put(rng.normal(0, 1, (t, 512)).astype("f4"))
    a8 = card.place("a8", (t, 512))
    parts = [("q4_k", 130), ("q4_k", 17), ("q6_k", 40), ("q6_k", 64), ("q6_k", 1), ("q6_k", 90), ("q6_k", 8)]
    weights = [card.put(Block(name, (n, 512), rng)) for name, n in parts]
    outs = [card.place("f32", (t, n)) for _, n in parts]
    ops = [("matmul_quantized", [out], [a8, w], {}) for out, w in zip(outs, weights)]
    same(chain(card, ("quantize_rows", [a8], [x], {}), *ops), *range(1, len(parts) + 1))


@pytest.mark.parametrize("n", [32, 576, 4096, 100])
@pytest.mark.parametrize("t", [1, 5])
def test_norms_with_integers(card, n, t):
    rng = rng_of("norm", n, t)
    x, y = (card.put(rng.normal(0, 2, (t, n)).astype("f4")) for _ in range(2))
    weight = card.put(rng.normal(1, 0.3, n).astype("f4"))
    total, normed, alone = (card.place("f32", (t, n)) for _ in range(3))
    first, second = card.place("a8", (t, n)), card.place("a8", (t, n))
    found = chain(
        card,
        ("add_rms_norm", [total, normed], [x, y, weight], {"eps": 1e-5}), ("quantize_rows", [first], [normed], {}),
        ("rms_norm", [alone], [total, weight], {"eps": 1e-5}), ("quantize_rows", [second], [alone], {}),
    )  # fmt: skip
    same(found, 0, 1, 3)
    np.testing.assert_array_equal(found[0][1], found[0][3])
    np.testing.assert_array_equal(found[0][2], found[0][4])


@pytest.mark.parametrize("name", ["swiglu", "geglu"])
@pytest.mark.parametrize("shape", [(1, 1536), (3, 2, 96), (2, 33)])
def test_gates_with_integers(card, name, shape):
    rng = rng_of(name, shape)
    x, y = (card.put(rng.normal(0, 2, shape).astype("f4")) for _ in range(2))
    out, a8 = card.place("f32", shape), card.place("a8", shape)
    same(chain(card, (name, [out], [x, y], {}), ("quantize_rows", [a8], [out], {})), 0)


@pytest.mark.parametrize("t", [1, 4])
@pytest.mark.parametrize("shape", [(6, 2, 64), (4, 4, 80), (3, 3, 40)])
def test_attention_with_integers(card, t, shape):
    heads, kv, size = shape
    rng = rng_of("attend", t, shape)
    q = card.put(rng.normal(0, 1, (t, heads, size)).astype("f4"))
    k, v = (card.put(rng.normal(0, 1, (1024, kv, size)).astype("f2")) for _ in range(2))
    tables = (np.arange(900 - t, 900), np.array([0, t]), np.array([900]), np.arange(16)[None], np.arange(1024))
    tables = [card.put(a.astype("i4")) for a in tables]
    out = card.place("f32", (t, heads, size))
    merged, a8 = Operand("f32", (t, heads * size), out.address, out.nbytes), card.place("a8", (t, heads * size))
    attend = ("attention", [out], [q, k, v, *tables], {"scale": 0.1})
    same(chain(card, attend, ("quantize_rows", [a8], [merged], {})), 0)


@pytest.mark.parametrize("name", ["f16", "f32", "q8_0"])
@pytest.mark.parametrize("halves, m", [(0, 32), (1, 32), (0, 20), (1, 20)])
def test_ropes_and_stores(card, name, halves, m):
    rng = rng_of("turn", halves, m)
    t = 3
    q, k = (card.put(rng.normal(0, 1, (t, h, 64)).astype("f4")) for h in (6, 2))
    v = card.put(rng.normal(0, 1, (t, 2, 96)).astype("f4"))
    table = card.put(rng.normal(0, 1, (t, m, 2)).astype("f4"))
    cells = card.put(np.array([5, 0, 63], "i4"))
    keys, values = card.place(name, (64, 2, 64)), card.place(name, (64, 2, 96))
    turned = card.place("f32", q.shape), card.place("f32", k.shape)
    ropes = [("rope", [out], [x, table], {"halves": halves}) for out, x in zip(turned, (q, k))]
    stores = ("store", [keys], [turned[1], keys, cells], {}), ("store", [values], [v, values, cells], {})
    same(chain(card, *ropes, *stores), 0, 1)


def test_what_lies_in_the_way_is_not_joined(card):
    """A later op's result in the memory of an earlier one's operand: only one after the other is right."""
    rng = rng_of("way")
    t, n = 6, 256
    x, y = (rng.normal(0, 2, (t, n)).astype("f4") for _ in range(2))
    placed, other = card.put(x), card.put(y)
    weight, eye = card.put(np.ones(n, "f4")), card.put(Block("q8_0", (40, n), rng))
    for name, outputs, operands, attrs in (
        ("rms_norm", 1, [placed, weight], {"eps": 1e-5}), ("add_rms_norm", 2, [placed, other, weight], {"eps": 1e-5}),
        ("swiglu", 1, [placed, other], {}),
    ):  # fmt: skip
        outs = [card.place("f32", (t, n)) for _ in range(outputs)]
        for row in (0, 1):  # the integers begin at this row of x
            a8 = Operand("a8", (t, n), placed.address + 4 * n * row, t * a8_stride(n))
            out = card.place("f32", (t, 40))
            ops = [(name, outs, operands, words_of(OPS[name], attrs)), ("quantize_rows", [a8], [outs[-1]], []),
                   ("matmul_quantized", [out], [a8, eye], [])]  # fmt: skip
            found = []
            for together in (True, False):
                card.upload(placed.address, x)
                for part in [ops] if together else [[op] for op in ops]:
                    card.run(card.stretch(*part))
                found.append((card.values(outs[-1]).copy(), card.values(out).copy()))
            for a, b in zip(*found):
                np.testing.assert_array_equal(a, b)
