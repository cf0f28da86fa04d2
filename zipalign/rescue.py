"""Searches a whole file backwards for a directory, behind garbage of any length that another program has left."""

from __future__ import annotations

from zipalign import records
from zipalign.copy import extents
from zipalign.locate import Directory, directory_at, pread

STEP = 16 << 20  # bytes searched at once
OVERLAP = records.END.size - 1


def search_back(fd: int, label: str, end: int) -> Directory | None:
    """Return the last directory that stands right before its end record and needs no correction, or None.

    Strictness keeps the directory of an archive that is a member from being taken for this file's. Holes are skipped.
    """
    for start, stop, hole in reversed(list(extents(fd, 0, end))):
        while not hole and stop > start:
            begin = max(start, stop - STEP)
            found = _in_block(fd, label, pread(fd, min(stop + OVERLAP, end) - begin, begin, label), begin, end)
            if found:
                return found
            stop = begin
    return None


def _in_block(fd: int, label: str, block: bytes, begin: int, end: int) -> Directory | None:
    """Try the end records of one block, the last first."""
    at = len(block)
    while (at := block.rfind(records.END_SIGN, 0, at)) >= 0:
        place = begin + at
        if at + records.END.size <= len(block):
            length = records.END.size + records.comment_length(block, at)
            if place + length <= end:
                found = directory_at(fd, label, place, pread(fd, length, place, label), strict=True)
                if found and records.marked_end(found.comment) is None:
                    return found
    return None
