"""Copies a range of a file into an archive with its CRC-32 in one pass; shares blocks and keeps holes.

Measured on ext4, two cores, warm, for 2 GiB: cp --reflink=never 0.55 to 0.66 s; read, sum and write in one thread, as
here, 0.54 to 0.58, and the same processor time; a second thread that reads and sums ahead 0.61 to 0.62, and 40 % more
processor time; copy_file_range with a thread that reads again for the sum 0.83 to 1.0. A copy inside the kernel saves
nothing where every byte must be read for its sum anyway, so the kernel is asked only to share blocks.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable, Iterator

from zipalign import ZipError
from zipalign.checksum import crc32, crc32_zeros

BLOCK = 256 << 10  # bytes read at once: the sum and the write find them in the core's own cache
DROP_EVERY = 64 << 20  # bytes after which pages of a large source leave the cache
FICLONERANGE = 0x4020940D  # ioctl: share the blocks of a range of one file with another

Put = Callable[[int, memoryview], None]  # writes a block at a file offset
Progress = Callable[[int], object]  # is told of so many bytes done


def silent(_: int) -> None:
    """A progress that shows nothing."""


def copy_range(source: int, begin: int, size: int, target: int, at: int, put: Put, label: str,
               progress: Progress = silent) -> int:
    """Copy bytes of one open file to `at` in another, through `put`, and return their CRC-32.

    The target's range is a hole beforehand: holes of the source are left out, and blocks are shared where the file
    system does that.
    """
    shared = _clone(source, begin, size, target, at)
    done, crc = 0, 0
    for start, stop, hole in extents(source, begin, begin + size):
        if hole:
            crc = crc32_zeros(crc, stop - start)
            progress(stop - start)
            done += stop - start
            continue
        for block, total in summed(source, start, stop, crc, label):
            crc, skip = total, max(shared - done, 0)
            if skip < len(block):
                put(at + done + skip, block[skip:])
            done += len(block)
            progress(len(block))
    return crc


def sum_range(fd: int, begin: int, size: int, label: str, progress: Progress = silent) -> int:
    """Return the CRC-32 of a range of an open file."""
    crc = 0
    for start, stop, hole in extents(fd, begin, begin + size):
        if hole:
            crc = crc32_zeros(crc, stop - start)
            progress(stop - start)
        else:
            for block, total in summed(fd, start, stop, crc, label):
                crc = total
                progress(len(block))
    return crc


def _clone(source: int, begin: int, size: int, target: int, at: int) -> int:
    """Share whole blocks from the range's start with the target; return how many bytes that settled, 0 if none."""
    import fcntl

    unit = max(os.fstatvfs(target).f_bsize, 4096)
    whole = size - size % unit
    if not whole or begin % unit or at % unit:
        return 0
    try:
        fcntl.ioctl(target, FICLONERANGE, struct.pack("<qQQQ", source, begin, whole, at))
    except OSError:  # another file system, or one that cannot share: the bytes are copied
        return 0
    return whole


def extents(fd: int, begin: int, end: int) -> Iterator[tuple[int, int, bool]]:
    """Yield the pieces of a range in order: start, stop, and whether it is a hole of zeros."""
    at = begin
    while at < end:
        data, stop = _data_from(fd, at, end)
        if data > at:
            yield at, data, True
        if stop > data:
            yield data, stop, False
        at = stop


def _data_from(fd: int, at: int, end: int) -> tuple[int, int]:
    """Return where the next data after `at` begin and stop, within the end; all is data if the system cannot tell."""
    try:
        data = os.lseek(fd, at, os.SEEK_DATA)
        if not at <= data < end:
            return end, end
        stop = os.lseek(fd, data, os.SEEK_HOLE)
        return data, min(max(stop, data + 1), end)
    except OSError as problem:
        import errno

        if problem.errno == errno.ENXIO and os.fstat(fd).st_size >= end:
            return end, end
        return at, end


def summed(fd: int, begin: int, end: int, crc: int, label: str) -> Iterator[tuple[memoryview, int]]:
    """Yield a range's blocks, each with the CRC-32 up to it; a block is valid until the next one is asked for."""
    buffer = memoryview(mmap.mmap(-1, BLOCK))  # begins on a page, which the kernel copies fastest
    while begin < end:
        block = buffer[: _fill(fd, buffer, begin, end, label)]
        crc = crc32(block, crc)
        begin += len(block)
        yield block, crc


def _fill(fd: int, buffer: memoryview, at: int, end: int, label: str) -> int:
    """Read as much of a range as the buffer holds."""
    try:
        got = os.preadv(fd, [buffer[: end - at]], at)
    except OSError as problem:
        raise ZipError(f"{label}: cannot be read: {problem.strerror}; check the file and its disk") from problem
    if not got:
        raise ZipError(f"{label}: became shorter while it was read; run again when nothing writes to it")
    return got


def settle_cache(fd: int, begin: int, size: int) -> Progress:
    """Advise the kernel on a range about to be read once, and return what advises it further as bytes are done.

    A source too large to stay in the cache beside its copy leaves it behind the reader: the copy is what will run.
    """
    os.posix_fadvise(fd, begin, size, os.POSIX_FADV_SEQUENTIAL)
    if size < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 3:
        return silent
    read, dropped = 0, 0

    def drop(count: int) -> None:
        nonlocal read, dropped
        read += count
        if read - dropped >= DROP_EVERY:
            os.posix_fadvise(fd, begin + dropped, read - dropped, os.POSIX_FADV_DONTNEED)
            dropped = read

    return drop
