"""The arena's plan: where each intermediate result of a program lies, in the place of what is no longer read."""

from __future__ import annotations

from runtime import program
from runtime.quants import FORMATS

from . import schedule

ALIGNMENT = 64
A8_BLOCK_BYTES = 92  # as in runtime/a8.h
NEIGHBOURS = 3  # a device joins up to four ops


def bytes_of(tensor, letters):
    """What a tensor takes in memory with the letters at these values."""
    dims = [n if type(n) is int else n.at(letters) for n in tensor.shape]
    rows = 1
    for n in dims[:-1]:
        rows *= n
    if tensor.dtype == "a8":
        return rows * (-(-(-(-dims[-1] // 32) * A8_BLOCK_BYTES) // 64) * 64)
    if tensor.dtype == "i32":
        return rows * dims[-1] * 4
    return rows * FORMATS[tensor.dtype].row_size(dims[-1])


def plan_arena(tensors, ops, letters, devices=False):
    """Give each arena tensor an offset, reusing what is no longer read; returns the arena's size in bytes.

    The widest tensors, of which one is there at a time, lie at the arena's beginning, and between two of them what is
    gone before the next one comes: so they never have to look for a hole that is large enough. `devices` plans as if
    some of the ops were not the CPU's.
    """
    lives = _lives(ops, _behind(ops, devices))
    final = len(ops) - 1  # its result is what the caller reads
    sizes = {index: -(-bytes_of(tensors[index], letters) // ALIGNMENT) * ALIGNMENT for index in lives}
    width = max((need for index, need in sizes.items() if lives[index][0] < final), default=0)
    coming = _alone(lives, sizes, width)
    ending: dict = {}
    for index, (_, end) in lives.items():
        ending.setdefault(end, []).append(index)
    low: list[tuple[int, int]] = [(0, width)]
    high: list[tuple[int, int]] = []
    size = width
    for i, op in enumerate(ops):
        for t in op.outputs:
            index = schedule.root(t).index
            if index not in lives or lives[index][0] != i:  # not of the arena, or there already
                continue
            offset, is_next = -1, bool(coming) and coming[-1] == index
            if is_next or not coming or lives[index][1] < lives[coming[-1]][0]:
                offset, _ = _fit(low, sizes[index], -1)
            if is_next:
                coming.pop()
            if offset < 0:
                offset, size = _fit(high, sizes[index], size)
            tensors[index].offset = offset
        if i != final:
            for index in ending.get(i, ()):
                offset = tensors[index].offset
                _release(low if offset < width else high, offset, sizes[index])
    return size


def _lives(ops, behind):
    """Of each arena tensor, by its index: the op that makes it, and the one behind which its place is free again."""
    lives: dict[int, list[int]] = {}
    for i, op in enumerate(ops):
        for t in (*op.inputs, *op.outputs):
            if t is not None:
                root = schedule.root(t)
                if root.home == program.ARENA:
                    lives.setdefault(root.index, [i, i])[1] = behind[i]
    return lives


def _alone(lives, sizes, width):
    """The tensors of the full width, the last one first, without those that come while another one is there."""
    found, end = [], -1
    for index, life in lives.items():
        if sizes[index] == width and life[0] > end:
            found.append(index)
            end = life[1]
    return found[::-1]


def _behind(ops, devices):
    """Of each op the one behind which it is certain to be done: where the CPU's threads meet next.

    Where devices take part it is some ops later, as a device may do neighbouring ops at once.
    """
    if devices or any(op.device != schedule.CPU for op in ops):
        return [i + NEIGHBOURS for i in range(len(ops))]
    found = list(range(len(ops)))
    for i in range(len(ops) - 2, -1, -1):
        if ops[i].flags & program.NO_BARRIER:
            found[i] = found[i + 1]
    return found


def _fit(free, need, size):
    """Take `need` bytes from the first hole that has them, else from the end; returns (offset, the new end)."""
    for j, (start, length) in enumerate(free):
        if length >= need:
            if length == need:
                del free[j]
            else:
                free[j] = (start + need, length - need)
            return start, size
        if start + length == size:  # the hole at the end can grow
            del free[j]
            return start, start + need
    return size, size + need


def _release(free, start, length):
    """Give a stretch back, joined with the holes beside it; holes stay sorted."""
    free.append((start, length))
    free.sort()
    joined = [free[0]]
    for start, length in free[1:]:
        before, size = joined[-1]
        if before + size == start:
            joined[-1] = (before, size + length)
        else:
            joined.append((start, length))
    free[:] = joined
