"""Mixtures of experts: choosing them, and products with only those that were chosen."""

from __future__ import annotations

from .declare import np, op


@op
def route(logits: f32[t, e], *, used: int, normalize: int = 1) -> (i32[t, used], f32[t, used]):
    """The ids of the best `used` experts of each row, best first (ties: the lower id), and their softmax weights.

    With normalize the chosen weights sum to one.
    """
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    ids = np.argsort(-logits, axis=-1, kind="stable")[:, :used].astype("i4")
    weights = np.take_along_axis(p, ids, -1)
    return ids, (weights / weights.sum(-1, keepdims=True) if normalize else weights).astype("f4")


@op
def matmul_ids(x: f32[t, u, k], w: any[e, n, k], ids: i32[t, m] < e) -> f32[t, m, n]:
    """For each row and each chosen expert: x times that expert's matrix transposed; u is 1 (shared input) or m."""
    x = np.broadcast_to(x, (len(x), ids.shape[1], x.shape[2]))
    return np.einsum("tmk,tmnk->tmn", x.astype("f8"), w[ids].astype("f8")).astype("f4")


@op
def matmul_ids_quantized(x: a8[t, u, k], w: any[e, n, k], ids: i32[t, m] < e) -> f32[t, m, n]:
    """matmul_ids for activations in integer form and weights in a block format."""
    return matmul_ids.reference(x, w, ids)


@op
def weighted_sum(x: f32[t, m, n], weights: f32[t, m]) -> f32[t, n]:
    """The sum over m of x, each part times its weight."""
    return (x * weights[..., None]).sum(1).astype("f4")
