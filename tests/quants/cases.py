"""What the tests of the formats share: the formats by kind, blocks of random bytes, the C row functions on arrays."""

from __future__ import annotations

import numpy as np

from runtime._core import ffi, lib
from runtime.quants import FORMATS

COMPUTED = [f for f in FORMATS.values() if f.computed]
QUANTS = [f for f in COMPUTED if f.group]
SPECIAL_HALVES = np.array([0, 0x8000, 1, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E01, 0xFFFF], "<u2")


def random_blocks(format, count, seed=0):
    """Blocks of random bytes, uint8 [count, size]; half of those with float16 fields hold special values in them."""
    rng = np.random.default_rng(seed + format.id)
    blocks = rng.integers(0, 256, (count, format.size), dtype="u1")
    at = 0
    for _, kind, number in format.fields:
        if kind == "f16":
            special = rng.choice(SPECIAL_HALVES, (count // 2, number)).view("u1")
            blocks[: count // 2, at : at + 2 * number] = special.reshape(count // 2, -1)
        at += number * {"f32": 4, "f16": 2, "u16": 2, "u8": 1, "i8": 1}[kind]
    assert at == format.size
    return blocks


def tame_blocks(format, count, seed=0):
    """Random blocks whose float16 fields are of ordinary size."""
    rng = np.random.default_rng(seed + format.id)
    blocks = rng.integers(0, 256, (count, format.size), dtype="u1")
    at = 0
    for _, kind, number in format.fields:
        if kind == "f16":
            blocks[:, at : at + 2 * number] = rng.normal(0, 0.01, (count, number)).astype("<f2").view("u1")
        at += number * {"f32": 4, "f16": 2, "u16": 2, "u8": 1, "i8": 1}[kind]
    return blocks


def decode(format, packed):
    """Decode whole blocks by the C core: float32 [n]."""
    packed = np.ascontiguousarray(packed)
    out = np.empty(packed.size // format.size * format.block, "f4")
    code = lib.lf_decode_rows(format.id, ffi.from_buffer(packed), ffi.from_buffer("float[]", out), out.size)
    assert code == 0
    return out


def encode(format, x):
    """Encode float32 [n] by the C core; returns what the core returned and uint8 [bytes]."""
    x = np.ascontiguousarray(x, "f4")
    out = np.zeros(x.size // format.block * format.size, "u1")
    return lib.lf_encode_rows(format.id, ffi.from_buffer("float[]", x), ffi.from_buffer(out), x.size), out


def same(a, b):
    """Whether two float32 arrays have the same bits, any NaN being equal to any other."""
    a, b = np.asarray(a).reshape(-1), np.asarray(b).reshape(-1)
    nan = np.isnan(a)
    return bool((np.isnan(b) == nan).all() and (a.view("u4") == b.view("u4"))[~nan].all())


def in_panels(format, plain, rows):
    """What the bytes of `rows` rows of blocks, uint8 [rows * blocks, size], become laid out: by numpy alone.

    Panels of sixteen rows: first the scales that fill no dword, of each block the sixteen rows' side by side, then the
    dwords.
    """
    blocks = plain.reshape(rows // 16, 16, -1, format.size)
    odd = {"q4_0": 2, "q5_0": 2, "q8_0": 2, "iq4_nl": 2, "mxfp4": 1, "q3_k": -2, "q6_k": -2}.get(format.name, 0)
    first, rest = np.split(blocks, [odd if odd > 0 else 0], axis=3)
    rest, last = np.split(rest, [rest.shape[3] + min(odd, 0)], axis=3)
    scales = np.concatenate([first, last], axis=3).transpose(0, 2, 1, 3)
    dwords = rest.reshape(*rest.shape[:3], -1, 4).transpose(0, 2, 3, 1, 4)
    parts = [scales.reshape(rows // 16, -1), dwords.reshape(rows // 16, -1)]
    return np.ascontiguousarray(np.concatenate(parts, axis=1)).reshape(-1)
