"""Programs that move cells of a cache: as they are, or in a context shift, which rotates their keys back."""

from __future__ import annotations

from llamafile.graph import Graph, Tensor
from runtime import ops, program


def shift_graph(main):
    """Return (graph, result) that moves cells `tokens` to cells `cells` and turns keys by `positions` (negative).

    What a cache's keys were rotated by is read off the main graph, so no architecture says it twice.
    """
    g = Graph(main.file, main.vocabulary, main.rope, main.cache_types)
    g.constants, result = main.constants, None
    g.placement = main.placement
    for cache, rows, g.current_layer in _stored(main):
        moved = Tensor(g, cache.dtype, cache.shape, program.CACHE, cache.name)
        g.caches.append(moved)
        result = ops.move_cells(moved, g.tokens, g.cells)
        turn = _made_by(main, rows)
        if turn is not None and turn.op.name == "rope":
            result = ops.rope_cells(moved, _table(g, main, turn.inputs[1]), g.cells, halves=turn.attrs["halves"])
    return g, result


def copy_graph(main):
    """Return (graph, result) that copies cells `tokens` to cells `cells`, as they are."""
    g, result = Graph(main.file, main.vocabulary, main.rope, main.cache_types), None
    g.placement = main.placement
    for cache, _, g.current_layer in _stored(main):
        copied = Tensor(g, cache.dtype, cache.shape, program.CACHE, cache.name)
        g.caches.append(copied)
        result = ops.move_cells(copied, g.tokens, g.cells)
    return g, result


def _stored(graph):
    """The cache tensors in order, each with the rows that are stored in it, and its layer."""
    stores = {op.inputs[1].index: op for op in graph.ops if op.op.name == "store"}
    return [(cache, stores[cache.index].inputs[0], stores[cache.index].layer) for cache in graph.caches]


def _made_by(graph, tensor):
    """The op whose output the tensor is, or None."""
    return next((op for op in graph.ops if tensor in op.outputs), None)


def _table(g, main, table):
    """The rotation of g's positions by the frequencies of a table of the main graph; without its magnitude."""
    frequencies = _made_by(main, table).inputs[1]
    key = "rotation " + frequencies.name
    if key not in g.known:
        constant = Tensor(g, "f32", frequencies.shape, program.WEIGHT, frequencies.name,
                          offset=frequencies.offset, mapping=frequencies.mapping)  # fmt: skip
        g.known[key] = ops.rotation(g.positions, constant)
    return g.known[key]
