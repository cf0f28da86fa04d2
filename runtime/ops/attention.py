"""Attention over a paged cache, and positions."""

from __future__ import annotations

from .declare import np, op

PAGE = 64  # cells a page
SPLIT = 8  # pages that are reduced together before the parts are combined: fixed, so that sums never depend on threads


@op
def rotation(positions: i32[t], frequencies: f32[m], *, magnitude: float = 1.0) -> f32[t, m, 2]:
    """The cosines and sines of positions times frequencies, times a magnitude: a table for rope."""
    angle = positions[:, None].astype("f8") * frequencies.astype("f8")
    return (np.stack([np.cos(angle), np.sin(angle)], -1) * magnitude).astype("f4")


@op
def rope(x: f32[t, h, d], table: f32[t, m, 2], *, halves: int = 0) -> f32[t, h, d]:
    """Rotate the first 2m values of each head by a table of rotation's: neighbours, or value i with i + m (halves)."""
    m, out = table.shape[1], x.copy()
    c, s = table[:, None, :, 0], table[:, None, :, 1]
    first, second = (slice(0, m), slice(m, 2 * m)) if halves else (slice(0, 2 * m, 2), slice(1, 2 * m, 2))
    a, b = x[..., first], x[..., second]
    out[..., first], out[..., second] = a * c - b * s, a * s + b * c
    return out


@op
def rope_cells(cache: any[c, h, d], table: f32[t, m, 2], cells: i32[t] < c, *, halves: int = 0) -> cache:
    """Rotate cells of the cache further, in place: a shift of positions."""
    cache[cells] = rope.reference(cache[cells], table, halves=halves)
    return cache


@op
def attention(
    q: f32[t, h, d], k: any[c, g, d], v: any[c, g, e],
    positions: i32[t], starts: i32[s1], lengths: i32[s], pages: i32[s, p], cell_positions: i32[c],
    slopes: f32[h] = None, *, scale: float, window: int = 0, cap: float = 0.0, causal: int = 1,
) -> f32[t, h, e]:
    """Grouped-query attention of q over the cells of each row's own sequence.

    Rows starts[s] .. starts[s+1] belong to sequence s, whose cells lie in pages[s], 64 a page, lengths[s] in all. A row
    sees the cells whose position is not after its own (causal) and less than `window` before it (0: any); `cap`
    squeezes the scores as softcap does; slopes are ALiBi's, times the distance.
    """
    out = np.zeros((*q.shape[:2], v.shape[2]), "f4")
    groups = q.shape[1] // k.shape[1]
    for s, n in enumerate(lengths):
        cells = (pages[s][: -(-n // PAGE), None] * PAGE + np.arange(PAGE)).reshape(-1)[:n]
        ks, vs = (np.repeat(a[cells].astype("f8"), groups, axis=1) for a in (k, v))
        for t in range(starts[s], starts[s + 1]):
            distance = positions[t] - cell_positions[cells]
            seen = (distance >= 0) if causal else np.ones(n, bool)
            if window:
                seen &= np.abs(distance) < window
            score = np.einsum("hd,chd->hc", q[t].astype("f8"), ks) * scale
            score = cap * np.tanh(score / cap) if cap else score
            if slopes is not None:
                score = score - slopes[:, None] * distance
            score = np.where(seen, score, -np.inf)
            p = np.exp(score - score.max(-1, keepdims=True))
            out[t] = np.einsum("hc,chd->hd", p / p.sum(-1, keepdims=True), vs)
    return out
