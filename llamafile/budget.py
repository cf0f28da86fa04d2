"""What layers need of a card's memory, and how cards share them."""

from __future__ import annotations

from llamafile.arena import bytes_of, plan_arena
from llamafile.errors import LlamafileError
from llamafile.lower import fuse_seams, use_integers
from llamafile.schedule import root
from runtime import program


def cumulative(shares, n):
    """Where each card's part of the layers ends, as fractions of all; raises LlamafileError for shares of nothing."""
    shares = [*shares, *[0] * n][:n]
    if min(shares) < 0 or sum(shares) <= 0:
        raise LlamafileError("--tensor-split: gives no card anything; use numbers as in -ts 3,1")
    out, at = [], 0.0
    for share in shares:
        at += share / sum(shares)
        out.append(at)
    return out


def margin(total):
    """Bytes of a card left for its driver and for the module's own scratch."""
    return min(1 << 30, max(64 << 20, total // 16))


class Needs:
    """What the layers of a graph need on a card."""

    def __init__(self, graph, letters):
        self.ops = graph.ops
        self.weights: dict[tuple[int, int], int] = {}
        self.caches: dict[int, int] = {}
        for op in graph.ops:
            for t in (*op.inputs, *op.outputs):
                if t is None:
                    continue
                whole = root(t)
                if whole.home == program.WEIGHT:
                    self.weights[whole.mapping, whole.offset] = bytes_of(whole, letters)
                elif whole.home == program.CACHE:
                    self.caches[whole.index] = bytes_of(whole, letters)
        scratch = plan_arena(graph.tensors, fuse_seams(use_integers(graph.ops)), letters, devices=True)
        self.scratch = scratch * 5 // 4 + (1 << 20)  # seams between devices change the plan a little; and the inputs

    def of(self, placement, cards):
        """Bytes for each of the cards under a placement."""
        seen: list[dict] = [{} for _ in range(cards)]
        for op, device in zip(self.ops, placement.over(self.ops)):
            for t in (*op.inputs, *op.outputs) if device else ():
                whole = None if t is None else root(t)
                if whole is not None and whole.home == program.WEIGHT:
                    seen[device - 1][whole.mapping, whole.offset] = self.weights[whole.mapping, whole.offset]
                elif whole is not None and whole.home == program.CACHE:
                    seen[device - 1][whole.index] = self.caches[whole.index]
        return [sum(found.values()) + self.scratch if found else 0 for found in seen]
