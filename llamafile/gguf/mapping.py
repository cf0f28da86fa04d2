"""A byte range of a file in memory, read-only and shared, wherever in the file it begins."""

from __future__ import annotations

import mmap
import os

from llamafile._native import ffi, lib
from llamafile.errors import LlamafileError

# What is said when a page cannot be had: the system's answer to that is SIGBUS, which would end the process silently.
_CUT = "was cut short while it was in use, or its disk fails; copy it again"


class Mapping:
    """`length` bytes of `fd` from `file_offset` in memory from `address` on; `view` shows them to Python."""

    __slots__ = ("_buffer", "_map", "address", "fd", "file_offset", "length", "view")

    def __init__(self, fd, file_offset, length, label):
        """Map the range; raise LlamafileError where the file is shorter or memory lacks. `self.fd` is a duplicate."""
        size = os.fstat(fd).st_size
        if file_offset < 0 or length <= 0 or file_offset + length > size:
            raise LlamafileError(f"{label}: is empty or cut off ({length} bytes from byte {file_offset} of a file of "
                                 f"{size}); download or copy it again")
        skew = file_offset % mmap.ALLOCATIONGRANULARITY
        try:
            self._map = mmap.mmap(fd, skew + length, access=mmap.ACCESS_READ, offset=file_offset - skew)
            self.fd = os.dup(fd)
        except (OSError, ValueError, OverflowError) as problem:
            raise LlamafileError(f"{label}: {length} bytes cannot be mapped into memory ({problem}); "
                                 "look at `ulimit -v` and at the machine's address space") from None
        self._buffer = ffi.from_buffer(self._map)
        self.view = memoryview(self._map)[skew:]
        self.address = int(ffi.cast("uintptr_t", self._buffer)) + skew
        self.file_offset, self.length = file_offset, length
        line = " ".join(f"llamafile: {label}: {_CUT}".splitlines()) + "\n"
        lib.lf_guard_add(self._buffer, len(self._map), line.encode("utf-8", "surrogateescape"))

    def forget(self, offset, size):
        """Let go of a range's whole pages; whoever reads them after all gets them from the file again."""
        if not hasattr(mmap, "MADV_DONTNEED"):
            return
        skew = len(self._map) - self.length
        first = -(-(skew + offset) // mmap.PAGESIZE) * mmap.PAGESIZE
        whole = (skew + offset + size - first) // mmap.PAGESIZE * mmap.PAGESIZE
        if whole > 0:
            try:  # noqa: SIM105 - contextlib would cost every start
                self._map.madvise(mmap.MADV_DONTNEED, first, whole)
            except OSError:
                pass  # locked pages stay

    def close(self):
        """Unmap; addresses into the mapping are invalid from here on."""
        lib.lf_guard_remove(self._buffer)
        os.close(self.fd)
        self.view.release()
        ffi.release(self._buffer)
        try:
            self._map.close()
        except BufferError:
            del self._map  # slices of the view are still held: the memory goes with the last of them
