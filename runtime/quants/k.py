"""Formats of 256 numbers a block, in groups of 16 or 32 with small integer scales under one float16 scale."""

from __future__ import annotations

from .format import bits, quant, scaled


@quant(id=10, block=256, group=16, biased=True, scales="u8[16]", qs="u8[64]", d="f16", dmin="f16")
def q2_k(scales, qs, d, dmin):
    """Two bits; a byte of scales holds a group's scale below and its minimum above, four bits each."""
    return scaled(d * (scales & 15).astype("f4"), bits(qs, 2, 32)) - (dmin * (scales >> 4).astype("f4"))[..., None]


@quant(id=11, block=256, group=16, hmask="u8[32]", qs="u8[64]", scales="u8[12]", d="f16")
def q3_k(hmask, qs, scales, d):
    """Two bits plus one: a bit that is clear in hmask takes four away; the 16 scales have six bits less 32."""
    scale = bits(scales[:, :8], 4, 8) | bits(scales[:, 8:], 2, 4) << 4
    q = bits(qs, 2, 32).astype("i1") - 4 + (bits(hmask, 1, 32) << 2).astype("i1")
    return scaled(d * (scale.astype("f4") - 32), q)


def _scales_and_minima(packed):
    """Take twelve bytes apart into eight scales and eight minima of six bits, as uint8 [n, 8] each."""
    import numpy as np

    first, second, third = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = np.concatenate([first & 63, third & 15 | first >> 6 << 4], -1)
    minima = np.concatenate([second & 63, third >> 4 | second >> 6 << 4], -1)
    return scales, minima


@quant(id=12, block=256, group=32, biased=True, d="f16", dmin="f16", scales="u8[12]", qs="u8[128]")
def q4_k(d, dmin, scales, qs):
    """Four bits: scale * q - minimum, a scale and a minimum of six bits per 32."""
    scale, minimum = _scales_and_minima(scales)
    return scaled(d * scale.astype("f4"), bits(qs, 4, 32)) - (dmin * minimum.astype("f4"))[..., None]


@quant(id=13, block=256, group=32, biased=True, d="f16", dmin="f16", scales="u8[12]", qh="u8[32]", qs="u8[128]")
def q5_k(d, dmin, scales, qh, qs):
    """Five bits: as Q4_K, and qh holds the fifth bits of group i at bit i."""
    scale, minimum = _scales_and_minima(scales)
    q = bits(qs, 4, 32) | bits(qh, 1, 32) << 4
    return scaled(d * scale.astype("f4"), q) - (dmin * minimum.astype("f4"))[..., None]


@quant(id=14, block=256, group=16, ql="u8[128]", qh="u8[64]", scales="i8[16]", d="f16")
def q6_k(ql, qh, scales, d):
    """Six bits: scale * (q - 32), a signed scale of eight bits per 16; qh holds the upper two bits."""
    q = (bits(ql, 4, 64) | bits(qh, 2, 32) << 4).astype("i1") - 32
    return scaled(d * scales.astype("f4"), q)
