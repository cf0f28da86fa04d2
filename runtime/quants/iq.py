"""Formats whose four bits pick from a codebook that is finer around zero."""

from __future__ import annotations

from .format import bits, lookup, quant, scaled

CODES = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)


@quant(id=20, block=32, group=32, codebook=CODES, d="f16", qs="u8[16]")
def iq4_nl(d, qs):
    """One scale per 32; the low nibbles are the first half."""
    return d * lookup(CODES, bits(qs, 4, 16))


@quant(id=23, block=256, group=32, codebook=CODES, d="f16", scales_h="u8[2]", scales_l="u8[4]", qs="u8[128]")
def iq4_xs(d, scales_h, scales_l, qs):
    """Eight scales of six bits less 32 under one of float16; 32 numbers lie together, their low nibbles first."""
    scale = bits(scales_l, 4, 1) | bits(scales_h, 2, 1) << 4
    return scaled(d * (scale.astype("f4") - 32), lookup(CODES, bits(qs, 4, 16)))
