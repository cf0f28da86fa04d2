"""Ops that move whole rows."""

from __future__ import annotations

from .declare import op


@op
def embed(ids: i32[t] < v, table: any[v, n]) -> f32[t, n]:
    """The rows of the table for ids."""
    return table[ids]


@op
def take_rows(x: f32[t, n], rows: i32[o] < t) -> f32[o, n]:
    """The chosen rows of x."""
    return x[rows]


@op
def store(x: f32[t, h, d], cache: any[c, h, d], cells: i32[t] < c) -> cache:
    """Write the rows of x into the cache's cells, in the cache's format."""
    cache[cells] = x
    return cache


@op
def move_cells(cache: any[c, h, d], source: i32[t] < c, target: i32[t] < c) -> cache:
    """Copy cells within the cache, first to last, as they are."""
    for a, b in zip(source, target):
        cache[b] = cache[a]
    return cache
