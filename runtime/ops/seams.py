"""Several ops as one, for the CPU: where two or three follow each other, threads then meet less often.

Each gives the very bits of the ops that it stands for.
"""

from __future__ import annotations

from .attention import rope
from .declare import op
from .elementwise import geglu, swiglu
from .matmul import matmul_quantized, quantize_rows
from .norm import add_rms_norm, rms_norm
from .rows import store


@op
def rms_norm_quantize(x: f32[t, n], weight: f32[n], *, eps: float) -> (f32[t, n], a8[t, n]):
    """rms_norm, and its result in integer form."""
    y = rms_norm.reference(x, weight, eps=eps)
    return y, quantize_rows.reference(y)


@op
def add_rms_norm_quantize(
    x: f32[t, n], y: f32[t, n], weight: f32[n], *, eps: float
) -> (f32[t, n], f32[t, n], a8[t, n]):
    """add_rms_norm, and the normalised sum in integer form."""
    total, normed = add_rms_norm.reference(x, y, weight, eps=eps)
    return total, normed, quantize_rows.reference(normed)


@op
def swiglu_quantize(gate: f32[..., n], up: f32[..., n]) -> a8[..., n]:
    """swiglu in integer form."""
    return quantize_rows.reference(swiglu.reference(gate, up))


@op
def geglu_quantize(gate: f32[..., n], up: f32[..., n]) -> a8[..., n]:
    """geglu in integer form."""
    return quantize_rows.reference(geglu.reference(gate, up))


@op
def rope_store(
    x: f32[t, h, d], table: f32[t, m, 2], cache: any[c, h, d], cells: i32[t] < c, *, halves: int = 0
) -> cache:
    """Write the rows of x, rotated as rope does, into the cache's cells."""
    return store.reference(rope.reference(x, table, halves=halves), cache, cells)


@op
def gated_products(x: a8[t, k], gate: any[n, k], up: any[n, k], *, gelu: int = 0) -> a8[t, n]:
    """swiglu (geglu) of the products of x with two matrices, in integer form; n is a multiple of 32.

    Neither product is ever in memory as a whole, which for a prompt would be the largest thing there.
    """
    activation = geglu if gelu else swiglu
    products = [matmul_quantized.reference(x, w) for w in (gate, up)]
    return quantize_rows.reference(activation.reference(*products))
