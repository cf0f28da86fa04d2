"""Lays a file's matrices out in memory when it is loaded (--repack): faster, at the cost of memory and time."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from llamafile.errors import LlamafileError
from runtime._core import ffi, lib
from runtime.quants import BY_ID, laid_out

from .layout import PIECE, other_form, rows_of

ALIGNMENT = 64  # bytes: of each tensor, so that no vector lies on two cache lines


class Room:
    """Memory in large pages that stands among a file's mappings; it has no file, so `fd` is -1."""

    __slots__ = ("_memory", "address", "fd", "file_offset", "length", "view")

    def __init__(self, size, label):
        """Take `size` bytes; raise LlamafileError where there are none."""
        self._memory = lib.lf_memory_large(size)
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


def repack(file, threads):
    """Lay out what can be laid out of an open file, on so many threads; return the bytes it took and the seconds."""
    begin = time.monotonic()
    wanted = [(tensor, form) for tensor in file.tensors.values() if (form := other_form(tensor, True))]
    places, size = [], 0
    for tensor, _ in wanted:
        places.append(size)
        size += -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT
    if not wanted:
        return 0, 0.0
    room = Room(size, file.label)
    with ThreadPoolExecutor(threads) as pool:
        work = [(tensor, room.address + at, first, rows) for (tensor, _), at in zip(wanted, places)
                for first, rows in _pieces(tensor)]  # fmt: skip
        list(pool.map(lambda piece: _lay_out(file, *piece), work))
    for (tensor, form), at in zip(wanted, places):
        file.mappings[tensor.mapping].forget(tensor.offset, tensor.nbytes)
        tensor.type, tensor.mapping, tensor.offset = form.id, len(file.mappings), at
    file.mappings.append(room)
    return size, time.monotonic() - begin


def _pieces(tensor):
    """Yield (first row, rows) of whole panels that are laid out in one go."""
    step = max(1, PIECE // (BY_ID[tensor.type].row_size(tensor.ne[0]) * laid_out.ROWS)) * laid_out.ROWS
    rows = rows_of(tensor)
    for first in range(0, rows, step):
        yield first, min(step, rows - first)


def _lay_out(file, tensor, target, first, rows):
    """Lay out some rows of a tensor that begins at `target`; C runs without Python's lock."""
    form = BY_ID[tensor.type]
    skip = first * form.row_size(tensor.ne[0])
    source = file.mappings[tensor.mapping].address + tensor.offset + skip
    lib.lf_lay_out(form.id, ffi.cast("void *", source), ffi.cast("void *", target + skip), rows // laid_out.ROWS,
                   tensor.ne[0] // form.block, 0)  # fmt: skip
