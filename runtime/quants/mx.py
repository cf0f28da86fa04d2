"""Formats of the Open Compute Project: small floats under a power of two as scale."""

from __future__ import annotations

from .format import bits, lookup, quant

CODES = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)  # E2M1, doubled so that all are integers


@quant(id=39, block=32, group=32, codebook=CODES, e="u8", qs="u8[16]")
def mxfp4(e, qs):
    """Sign, two bits of exponent, one of fraction; the scale is 2^(e - 127), halved as the codes are doubled."""
    import numpy as np

    return np.ldexp(np.float32(1), e.astype("i4") - 128) * lookup(CODES, bits(qs, 4, 16))
