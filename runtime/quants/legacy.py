"""Formats of 32 numbers a block with one scale, and a minimum where the name ends in _1."""

from __future__ import annotations

from .format import bits, quant


@quant(id=2, block=32, group=32, d="f16", qs="u8[16]")
def q4_0(d, qs):
    """Four bits: d * (q - 8); the low nibbles are the first half."""
    return d * (bits(qs, 4, 16).astype("f4") - 8)


@quant(id=3, block=32, group=32, biased=True, d="f16", m="f16", qs="u8[16]")
def q4_1(d, m, qs):
    """Four bits: d * q + m; the low nibbles are the first half."""
    return d * bits(qs, 4, 16).astype("f4") + m


@quant(id=6, block=32, group=32, d="f16", qh="u8[4]", qs="u8[16]")
def q5_0(d, qh, qs):
    """Five bits: d * (q - 16); the fifth bits lie in qh, element i at bit i."""
    q = bits(qs, 4, 16) | bits(qh, 1, 1) << 4
    return d * (q.astype("f4") - 16)


@quant(id=7, block=32, group=32, biased=True, d="f16", m="f16", qh="u8[4]", qs="u8[16]")
def q5_1(d, m, qh, qs):
    """Five bits: d * q + m; the fifth bits lie in qh, element i at bit i."""
    q = bits(qs, 4, 16) | bits(qh, 1, 1) << 4
    return d * q.astype("f4") + m


@quant(id=8, block=32, group=32, d="f16", qs="i8[32]")
def q8_0(d, qs):
    """Eight bits: d * q."""
    return d * qs.astype("f4")
