"""Lays a file's matrices out in memory when it is loaded (--repack): faster, at the cost of memory and time."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from llamafile.errors import LlamafileError
from runtime import nodes
from runtime._core import ffi, lib
from runtime.quants import BY_ID, laid_out

from .layout import PIECE, other_form, rows_of

ALIGNMENT = 64  # bytes: of each tensor, so that no vector lies on two cache lines


class Room:
    """Memory in large pages that stands among a file's mappings; it has no file, so `fd` is -1."""

    __slots__ = ("_memory", "address", "fd", "file_offset", "length", "view")

    def __init__(self, size, label, large=True):
        """Take `size` bytes, in large pages or in those of the system; raise LlamafileError where there are none."""
        self._memory = (lib.lf_memory_large if large else lib.lf_memory_new)(size)
        if not self._memory.address:
            raise LlamafileError(f"--repack: {label}: no memory for another {size >> 20} MiB of weights; leave it out")
        self.address, self.length = int(ffi.cast("uintptr_t", self._memory.address)), size
        self.fd, self.file_offset = -1, 0
        self.view = memoryview(ffi.buffer(self._memory.address, size)).cast("B")

    def forget(self, offset, size):
        """Nothing can be let go of: there is no file to read it from again."""

    def close(self):
        """Give the memory back."""
        self.view.release()
        lib.lf_memory_free(self._memory)


def repack(file, threads, shares=()):
    """Lay out what can be laid out of an open file, on so many threads; return the bytes it took and the seconds.

    With `shares` of several memory nodes (nodes.Plan's), rows are laid out by threads of the node that will read them;
    in small pages, since a large one would often be of two nodes.
    """
    begin = time.monotonic()
    wanted = [(tensor, form) for tensor in file.tensors.values() if (form := other_form(tensor, True))]
    places, size = [], 0
    for tensor, _ in wanted:
        places.append(size)
        size += -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT
    if not wanted:
        return 0, 0.0
    room = Room(size, file.label, large=len(shares) < 2)
    with ExitStack() as stack:
        pools = [stack.enter_context(pool) for pool in _pools(threads, shares)]
        jobs = [pools[j].submit(_lay_out, file, tensor, room.address + at, first, rows)
                for (tensor, _), at in zip(wanted, places) for j, first, rows in _pieces(tensor, shares)]  # fmt: skip
        for job in jobs:
            job.result()
    for (tensor, form), at in zip(wanted, places):
        file.mappings[tensor.mapping].forget(tensor.offset, tensor.nbytes)
        tensor.type, tensor.mapping, tensor.offset = form.id, len(file.mappings), at
    file.mappings.append(room)
    return size, time.monotonic() - begin


def _pools(threads, shares):
    """The threads that lay out: of each share some that keep to its node."""
    if not shares:
        return [ThreadPoolExecutor(threads)]
    return [ThreadPoolExecutor(max(1, round(threads * (end - begin))), initializer=nodes.keep_to, initargs=(node,))
            for node, begin, end in shares]  # fmt: skip


def _pieces(tensor, shares):
    """Yield (index of the share, first row, rows) of whole panels that are laid out in one go."""
    step = max(1, PIECE // (BY_ID[tensor.type].row_size(tensor.ne[0]) * laid_out.ROWS)) * laid_out.ROWS
    panels, cuts = tensor.ne[1] // laid_out.ROWS, [begin for _, begin, _ in shares[1:]]
    for matrix in range(0, rows_of(tensor), tensor.ne[1]):
        ends = [matrix + int(cut * panels) * laid_out.ROWS for cut in cuts] + [matrix + tensor.ne[1]]
        for j, (begin, end) in enumerate(zip([matrix, *ends], ends)):
            for first in range(begin, end, step):
                yield j, first, min(step, end - first)


def _lay_out(file, tensor, target, first, rows):
    """Lay out some rows of a tensor that begins at `target`; C runs without Python's lock."""
    form = BY_ID[tensor.type]
    skip = first * form.row_size(tensor.ne[0])
    source = file.mappings[tensor.mapping].address + tensor.offset + skip
    lib.lf_lay_out(form.id, ffi.cast("void *", source), ffi.cast("void *", target + skip), rows // laid_out.ROWS,
                   tensor.ne[0] // form.block, 0)  # fmt: skip
