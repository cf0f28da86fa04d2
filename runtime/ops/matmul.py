"""Products with weights, whose rows may be in any format."""

from __future__ import annotations

from .declare import np, op


@op
def matmul(x: f32[t, k], w: any[n, k]) -> f32[t, n]:
    """x times w transposed, for weights in a floating format."""
    return (x.astype("f8") @ w.T.astype("f8")).astype("f4")


@op
def quantize_rows(x: f32[..., k]) -> a8[..., k]:
    """The integer form of activations that products with quantised weights read: int8 and one scale per 32 values.

    A block's scale is its largest magnitude / 127; values are rounded to the nearest integer, ties to even.
    """
    blocks = x.reshape(*x.shape[:-1], -1, 32)
    scale = (np.abs(blocks).max(-1, keepdims=True) / np.float32(127)).astype("f4")
    with np.errstate(divide="ignore"):
        inverse = np.where(scale > 0, np.float32(1) / scale, np.float32(0)).astype("f4")
    return (np.rint(blocks * inverse).astype("f4") * scale).reshape(x.shape)


@op
def matmul_quantized(x: a8[t, k], w: any[n, k]) -> f32[t, n]:
    """x times w transposed, in exact integers within a block, for weights in a block format."""
    return (x.astype("f8") @ w.T.astype("f8")).astype("f4")
