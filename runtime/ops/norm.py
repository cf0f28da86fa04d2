"""Normalisation of rows."""

from __future__ import annotations

from .declare import np, op


@op
def rms_norm(x: f32[..., n], weight: f32[n], *, eps: float) -> f32[..., n]:
    """Divide each row by its root mean square, then scale by weight."""
    return x / np.sqrt((x.astype("f8") ** 2).mean(-1, keepdims=True) + eps).astype("f4") * weight


@op
def add_rms_norm(x: f32[t, n], y: f32[t, n], weight: f32[n], *, eps: float) -> (f32[t, n], f32[t, n]):
    """The sum x + y, and the sum normalised as rms_norm does: the seam between two blocks of a layer."""
    total = x + y
    return total, rms_norm.reference(total, weight, eps=eps)
