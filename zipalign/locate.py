"""Finds the last good directory of a file: at its end, or where the mark of an interrupted run says it lies."""

from __future__ import annotations

import os

from zipalign import ZipError, records

FIRST_LOOK = 4096  # bytes of the end that are read first; most archives have no comment
LARGEST_DIRECTORY = 1 << 28  # bytes; three million members


class Directory:
    """Where an archive's directory lies: position, size and count; base is what its offsets lack to be the file's."""

    __slots__ = ("base", "comment", "count", "position", "size", "stop")

    def __init__(self, position: int, size: int, count: int, base: int, comment: bytes, stop: int):
        self.position, self.size, self.count, self.base = position, size, count, base
        self.comment, self.stop = comment, stop  # stop: the byte behind the end record and its comment


def locate(fd: int, label: str, end: int) -> tuple[int | None, Directory | None]:
    """Find the directory of a file that ends at `end`: the byte a mark names or None, and the directory or None."""
    found = _directory_before(fd, label, end)
    good = records.marked_end(found.comment) if found else None
    if found is None or good is None:
        return None, found
    if good >= found.stop:
        raise ZipError(f"{label}: its interruption mark names byte {good} of {end}; the file is damaged: get it again")
    before = _directory_before(fd, label, good)
    if before and records.marked_end(before.comment) is not None:
        raise ZipError(f"{label}: has an interruption mark behind another; the file is damaged: get it again")
    return good, before


def _directory_before(fd: int, label: str, end: int) -> Directory | None:
    """Find the last end record: one whose comment reaches the end exactly, else one with a little junk behind it."""
    reach = 0
    for look in (FIRST_LOOK, records.END_REACH):
        if reach < min(look, end):
            reach = min(look, end)
            tail = pread(fd, reach, end - reach, label)
            for exact in (True, False) if reach == end or look == records.END_REACH else (True,):
                found = _in_tail(fd, label, tail, end - reach, exact)
                if found:
                    return found
    return None


def _in_tail(fd: int, label: str, tail: bytes, begin: int, exact: bool) -> Directory | None:
    """Look through the last bytes, which begin at `begin` in the file, for an end record with a directory."""
    at = len(tail)
    while (at := tail.rfind(records.END_SIGN, 0, at)) >= 0:
        if at + records.END.size <= len(tail):
            stop = at + records.END.size + records.comment_length(tail, at)
            if stop == len(tail) or (not exact and stop < len(tail)):
                found = directory_at(fd, label, begin + at, tail[at:stop], strict=not exact)
                if found:
                    return found
    return None


def directory_at(fd: int, label: str, at: int, end_record: bytes, strict: bool = False) -> Directory | None:
    """Return the directory that the end record at byte `at` speaks of, or None where none begins there.

    Offsets that lack a base are corrected, as for a self-extractor's stub; strict refuses to.
    """
    facts, behind = records.end_facts(end_record), at
    if facts and records.needs_end64(*facts):
        behind, facts = _end64(fd, label, at) or (at, facts)
    if facts is None:
        return None
    count, size, offset = facts
    comment, adjacent = end_record[records.END.size :], behind - size
    tries = (offset,) if strict or records.marked_end(comment) is not None else (adjacent, offset)
    for position in tries:
        if 0 <= position <= adjacent and not (strict and position != adjacent) and _begins(fd, label, position, size):
            if size > LARGEST_DIRECTORY:
                raise ZipError(f"{label}: its ZIP directory would have {size} bytes; the file is damaged: get it again")
            return Directory(position, size, count, position - offset, comment, at + len(end_record))
    return None


def _begins(fd: int, label: str, position: int, size: int) -> bool:
    """Whether a central record stands at the position, or nothing needs to."""
    return size == 0 or pread(fd, min(size, 4), position, label) == records.CENTRAL_SIGN


def _end64(fd: int, label: str, at: int) -> tuple[int, tuple[int, int, int]] | None:
    """Find the ZIP64 end record that belongs to the end record at `at`: its position and facts, or None."""
    last = at - records.LOCATOR.size - records.END64.size
    if last < 0:
        return None
    where = records.end64_place(pread(fd, records.LOCATOR.size, at - records.LOCATOR.size, label))
    if where is None:
        return None
    for position in (last, where):  # right before its locator, else where that says
        if position <= last:
            facts = records.end64_facts(pread(fd, records.END64.size, position, label))
            if facts:
                return position, facts
    return None


def pread(fd: int, size: int, offset: int, label: str) -> bytes:
    """Read exactly so many bytes; the kernel may give less than asked for (2 GiB at most)."""
    try:
        data = os.pread(fd, size, offset)
        while len(data) < size:
            more = os.pread(fd, size - len(data), offset + len(data))
            if not more:
                raise ZipError(f"{label}: ends at byte {offset + len(data)}, before what it should hold; get it again")
            data += more
    except OSError as problem:
        raise ZipError(f"{label}: cannot be read: {problem.strerror}; check the file and its disk") from problem
    return data
