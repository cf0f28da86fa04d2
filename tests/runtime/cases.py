"""Cases of ops with awkward sizes, for every device: operands, attributes, how near the body's result must be."""

from __future__ import annotations

import numpy as np

from runtime.ops import OPS, PAGE
from runtime.quants import FORMATS

QUANTS = [f.name for f in FORMATS.values() if f.computed and f.group]


class Block:
    """A weight in a block format: raw bytes, the shape that they decode to, and the decoded values."""

    def __init__(self, name, shape, rng, byte=None):
        self.format, self.shape = FORMATS[name], shape
        self.raw = random_blocks(self.format, int(np.prod(shape)) // self.format.block, rng, byte)
        self.values = self.format.decode(self.raw).reshape(shape)


class Bf16(Block):
    """A weight in bfloat16, of which numpy has no dtype."""

    def __init__(self, shape, rng):
        self.format, self.shape = FORMATS["bf16"], shape
        upper = rng.normal(0, 1, shape).astype("<f4").view("<u4") >> 16
        self.raw = upper.astype("<u2").view("u1").reshape(-1, 2)
        self.values = self.format.decode(self.raw).reshape(shape)


class Quantized:
    """Activations that reach an op in integer form."""

    def __init__(self, rows):
        self.rows = rows
        self.values = OPS["quantize_rows"].reference(rows)


class Cells:
    """An operand that the op writes to: a cache of one format before the call."""

    def __init__(self, values, name):
        self.format, self.shape = FORMATS[name], values.shape
        self.values = values


def random_blocks(format, count, rng, byte=None):
    """Random bytes of whole blocks, or this byte throughout, with scales of ordinary size."""
    parts = []
    for _, kind, n in format.fields:
        if kind in ("f16", "f32"):
            parts.append((rng.uniform(-0.1, 0.1, (count, n))).astype("<f2" if kind == "f16" else "<f4").view("u1"))
        elif format.name == "mxfp4" and n == 1:
            parts.append(rng.integers(120, 130, (count, n)).astype("u1"))  # an exponent near one
        else:
            width = {"u16": 2, "u8": 1, "i8": 1}[kind]
            shape = (count, n * width)
            parts.append((rng.integers(0, 256, shape) if byte is None else np.full(shape, byte)).astype("u1"))
    return np.ascontiguousarray(np.concatenate([p.reshape(count, -1) for p in parts], axis=1))


def rng_of(*key):
    """A generator seeded by the case, so that a failure can be repeated."""
    return np.random.default_rng(sum(map(ord, repr(key))))


class Case:
    """One op with operands and attributes; `absolute` is beside the tolerance that counts the largest result."""

    def __init__(self, name, operands, attrs=None, tolerance=1e-6, absolute=0.0):
        self.name, self.operands, self.attrs = name, operands, attrs or {}
        self.tolerance, self.absolute = tolerance, absolute

    def want(self):
        """What the numpy body makes of the operands: a tuple of arrays."""
        plain = [o.values.copy() if isinstance(o, (Block, Quantized, Cells)) else o for o in self.operands]
        made = OPS[self.name].reference(*plain, **self.attrs)
        return made if isinstance(made, tuple) else (made,)

    def check(self, got, tolerance=0.0):
        """Compare results with the body's; a device may ask for another tolerance where its own is coarser."""
        near = max(self.tolerance, tolerance)
        for g, w in zip(got, self.want(), strict=True):
            g, w = g.astype("f4"), w.astype("f4")
            largest = max(1e-3, float(np.abs(w).max())) if w.size else 0.0
            np.testing.assert_allclose(g, w, rtol=near, atol=near * largest + self.absolute)


ELEMENTWISE = [(1, 1), (1, 33), (3, 64), (5, 577), (37, 96)]


def elementwise(shape):
    """All ops on values."""
    rng = rng_of(shape)
    x, y = rng.normal(0, 3, shape).astype("f4"), rng.normal(0, 3, shape).astype("f4")
    for name in ("add", "mul", "swiglu", "geglu"):
        yield Case(name, (x, y), tolerance=2e-6 if name in ("add", "mul") else 1e-5)
    yield Case("add_row", (x, y[0]))
    yield Case("scale", (x,), {"by": 0.37})
    yield Case("softcap", (x,), {"cap": 5.0}, 1e-5)


def extreme_values():
    """Activations that overflow where a function is written carelessly."""
    x = np.array([[-1e30, -200, -88, -0.0, 0, 1e-30, 88, 200, 1e30]], "f4")
    yield Case("swiglu", (x, np.ones_like(x)), tolerance=1e-5)


NORMS = [(1, 64), (5, 576), (2, 3, 100), (9, 4097)]


def norms(shape):
    """Norms of rows; the sum's norm where there are only rows."""
    rng = rng_of(shape)
    x, y = rng.normal(0, 9, shape).astype("f4"), rng.normal(0, 9, shape).astype("f4")
    w = rng.normal(1, 0.5, shape[-1]).astype("f4")
    yield Case("rms_norm", (x, w), {"eps": 1e-5}, 2e-6)
    if len(shape) == 2:
        yield Case("add_rms_norm", (x, y, w), {"eps": 1e-5}, 2e-6)


def dense(name, shape, rng):
    """Weights in a floating format."""
    if name == "bf16":
        return Bf16(shape, rng)
    return rng.normal(0, 1, shape).astype({"f32": "f4", "f16": "f2"}[name])


def float_product(t, name, n=37, k=77):
    """t rows times a matrix of floats."""
    rng = rng_of(t, name)
    k = k if name != "bf16" else (k + 15) // 16 * 16
    return Case("matmul", (rng.normal(0, 1, (t, k)).astype("f4"), dense(name, (n, k), rng)), tolerance=3e-6)


def quantised_product(name, t, n=19, k=0):
    """t rows in integer form times a matrix in a block format: only the order of f32 sums differs from the body."""
    rng = rng_of(name, t)
    k = k // FORMATS[name].block * FORMATS[name].block or max(96, FORMATS[name].block * 3)
    x, w = rng.normal(0, 2, (t, k)).astype("f4"), Block(name, (n, k), rng)
    return Case("matmul_quantized", (Quantized(x), w), tolerance=2e-5)


def largest_sums(name, byte, t):
    """Blocks of one byte alone beside their scales, activations at their bounds: no integer sum can be larger."""
    k = FORMATS[name].block * 2
    x = np.ones((t, k), "f4")
    x[1::3], x[2::3, ::2] = -1, -1
    return Case("matmul_quantized", (Quantized(x), Block(name, (18, k), rng_of(name, byte), byte)), tolerance=2e-5)


EXPERTS = ["f32", "f16", "q4_0", "q6_k", "q4_1", "q2_k"]


def experts(name, shared, t=41, m=2, e=5, n=21, k=256):
    """Rows times the experts that they chose; `shared` says that all of a row's experts read the same activations."""
    rng = rng_of(name, shared)
    ids = np.argsort(rng.random((t, e)), axis=1)[:, :m].astype("i4")
    x = rng.normal(0, 1, (t, 1 if shared else m, k)).astype("f4")
    if name in QUANTS:
        return Case("matmul_ids_quantized", (Quantized(x), Block(name, (e, n, k), rng), ids), tolerance=2e-5)
    return Case("matmul_ids", (x, dense(name, (e, n, k), rng), ids), tolerance=3e-6)


def routing():
    """The choice of experts, with ties, and the sum of what they say."""
    rng = rng_of("route")
    logits = rng.normal(0, 2, (9, 8)).astype("f4")
    logits[3] = 1.0  # ties: the lower id first
    for normalize in (0, 1):
        yield Case("route", (logits,), {"used": 3, "normalize": normalize}, 1e-5)
    many = rng.normal(0, 2, (3, 130)).astype("f4")
    many[1, 40:90] = 7.0
    yield Case("route", (many,), {"used": 9, "normalize": 1}, 1e-5)
    parts, weights = rng.normal(0, 1, (9, 3, 70)).astype("f4"), rng.random((9, 3)).astype("f4")
    yield Case("weighted_sum", (parts, weights), tolerance=1e-5)


def rows():
    """Embedding in every format, and chosen rows."""
    rng = rng_of("rows")
    ids = np.array([4, 0, 4, 9], "i4")
    for name in ("f32", "f16", "bf16", *QUANTS):
        block = FORMATS[name].block
        table = dense(name, (10, 96), rng) if block == 1 else Block(name, (10, max(96, block)), rng)
        yield Case("embed", (ids, table))
    yield Case("take_rows", (rng.normal(0, 1, (10, 33)).astype("f4"), ids), tolerance=0)


def cells(name):
    """Writing, moving and turning cells of a cache of floats."""
    rng = rng_of("cells")
    fresh = rng.normal(0, 1, (5, 2, 40)).astype("f4")
    where = np.array([7, 3, 63, 0, 12], "i4")
    table = rng_of("t").normal(0, 1, (5, 20, 2)).astype("f4")
    before = rng.normal(0, 1, (64, 2, 40)).astype({"f32": "f4", "f16": "f2"}[name])
    near = 1e-3 if name == "f16" else 1e-6
    yield Case("store", (fresh, Cells(before, name), where), {}, near, 1e-5)
    source, target = np.arange(10, 30, dtype="i4"), np.arange(4, 24, dtype="i4")
    yield Case("move_cells", (Cells(before, name), source, target), {}, near, 1e-5)
    yield Case("rope_cells", (Cells(before, name), table, where), {"halves": 1}, near, 1e-5)


def rotation(halves):
    """Tables of positions, and turning by them."""
    rng = rng_of("rope")
    positions = np.array([0, 1, 17, 131071], "i4")
    frequencies = (10000.0 ** -(np.arange(24) / 24)).astype("f4")
    yield Case("rotation", (positions, frequencies), {"magnitude": 1.2})
    table = OPS["rotation"].reference(positions, frequencies)
    yield Case("rope", (rng.normal(0, 1, (4, 3, 64)).astype("f4"), table), {"halves": halves})


def sequences(rng, rows, heads, kv_heads, size, value_size, dtype="f4"):
    """Operands of attention for two sequences: one of 700 cells (two splits), one of 70, pages out of order."""
    lengths = np.array([700, 70], "i4")
    pages = np.zeros((2, 11), "i4")
    order = rng.permutation(13)
    pages[0], pages[1, :2] = order[:11], order[11:]
    where = np.full(13 * PAGE, 10**6, "i4")
    for s, n in enumerate(lengths):
        used = (pages[s][: -(-n // PAGE), None] * PAGE + np.arange(PAGE)).reshape(-1)[:n]
        where[used] = np.arange(n)
    starts = np.array([0, rows, rows + 2], "i4")
    positions = np.concatenate([np.arange(700 - rows, 700), np.arange(68, 70)]).astype("i4")
    q = rng.normal(0, 1, (rows + 2, heads, size)).astype("f4")
    if dtype in QUANTS:
        k = Block(dtype, (13 * PAGE, kv_heads, size), rng)
        v = Block(dtype, (13 * PAGE, kv_heads, value_size), rng)
    else:
        k = rng.normal(0, 1, (13 * PAGE, kv_heads, size)).astype(dtype)
        v = rng.normal(0, 1, (13 * PAGE, kv_heads, value_size)).astype(dtype)
    return q, k, v, positions, starts, lengths, pages, where


ATTENTION_SHAPES = [(6, 2, 64, 64, "f4"), (4, 4, 40, 24, "f4"), (9, 3, 64, 64, "f2")]
# What the CPU brings from the cache by code of its own, and one format that it does not.
CELL_SHAPES = [(3, 1, 36, 20, "f2"), (6, 2, 32, 64, "q8_0"), (2, 1, 320, 64, "q8_0"), (4, 2, 64, 96, "q4_0"),
               (4, 2, 64, 64, "q5_1")]


def attention(rows, shape=ATTENTION_SHAPES[0], tolerance=2e-5):
    """Attention of a few rows of two sequences under each attribute."""
    operands = sequences(rng_of(rows), rows, *shape)
    for attrs in ({}, {"window": 100}, {"cap": 2.0}, {"causal": 0}):
        yield Case("attention", operands, {"scale": 0.125, "window": 0, "cap": 0.0, "causal": 1} | attrs, tolerance)
    slopes = (2.0 ** -np.arange(1, shape[0] + 1)).astype("f4")
    yield Case("attention", (*operands, slopes), {"scale": 0.125}, tolerance)
