"""Examines an archive: its members' bytes and headers, whether members overlap, how their data are aligned."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from zipalign import ZipError, records
from zipalign.copy import Progress, silent, sum_range
from zipalign.inflate import chunks
from zipalign.locate import pread
from zipalign.reader import Archive
from zipalign.records import Member
from zipalign.rescue import search_back


def check(path: str | os.PathLike, align: int | None = None, progress: Progress = silent) -> Iterator[str]:
    """Yield one line for each thing that is wrong with the archive at a path; see problems()."""
    try:
        archive = Archive.open(path)
    except ZipError as problem:
        yield str(problem)
        yield from _older(path)
        return
    with archive:
        yield from problems(archive, align, progress)


def _older(path: str | os.PathLike) -> Iterator[str]:
    """Say where an older directory lies in a file that does not end in a good one."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return  # it has been said
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return
        size = os.fstat(fd).st_size
        found = search_back(fd, os.fspath(path), size)
        if found and found.stop < size:
            yield (f"{os.fspath(path)}: the last good directory ({found.count} members) ends at byte {found.stop} of "
                   f"{size}; zipalign would add behind the rest and keep these members")
    finally:
        os.close(fd)


def problems(archive: Archive, align: int | None = None, progress: Progress = silent) -> Iterator[str]:
    """Yield one line for each thing that is wrong with an archive; align: what stored data must be a multiple of.

    Encrypted members are looked at but not unpacked. progress is told of packed bytes as they are read.
    """
    if archive.interrupted is not None:
        yield (f"{archive.label}: packaging was interrupted or is still under way; the members are those of before, "
               f"the last good directory ends at byte {archive.interrupted}; run zipalign again to drop the rest")
    places = []
    for name in archive.members:
        try:
            member = archive.members[name]
            data_at = archive.data_offset(member)
            places.append((member.header, data_at + member.compressed, name))
            yield from _header(archive, member)
            _sum(archive, member, progress)
        except ZipError as problem:
            yield str(problem)
            continue
        if align and member.method == records.STORED and member.size and data_at % align:
            yield f"{archive.label}: {name} lies at byte {data_at}, no multiple of {align}; add it again with -a"
    yield from _overlaps(archive, places)


def _header(archive: Archive, member: Member) -> Iterator[str]:
    """Compare a member's local header with its directory record."""
    where = f"{archive.label}: {member.name}"
    head = pread(archive.fd, records.LOCAL.size, member.header, archive.label)
    flags, method, crc, compressed, size, n, x = records.local_facts(head)
    tail = pread(archive.fd, n + x, member.header + len(head), archive.label)
    if records.raw_name(archive.members.record(member.name)) != tail[:n]:
        yield f"{where} has another name in its own header; the file is damaged or made to deceive"
    if method != member.method:
        yield f"{where} has method {method} in its own header, {member.method} in the directory; it is damaged"
    wanted = member.crc, member.compressed, member.size
    early = flags & records.DESCRIPTOR  # the header was written before these were known
    if not early and (crc, *records.local_sizes(compressed, size, tail[n:], where)) != wanted:
        yield f"{where} has another CRC or size in its own header than in the directory; the file is damaged"


def _sum(archive: Archive, member: Member, progress: Progress) -> None:
    """Read a member whole and raise ZipError where its size or CRC are wrong."""
    if member.flags & records.ENCRYPTED:
        return
    if member.method != records.STORED:
        for _ in chunks(archive, member):
            pass
        progress(member.compressed)
        return
    if member.size != member.compressed or member.crc != sum_range(
            archive.fd, archive.data_offset(member), member.compressed, archive.label, progress):
        raise ZipError(f"{archive.label}: {member.name} is damaged: its CRC-32 is not {member.crc:08x}; get it again")


def _overlaps(archive: Archive, places: list[tuple[int, int, str]]) -> Iterator[str]:
    """Find members that share bytes with each other or with the directory."""
    directory = archive.directory
    if directory:
        places.append((directory.position, directory.stop, "the directory"))
    places.sort()
    reach, before = 0, ""
    for begin, stop, name in places:
        if begin < reach:
            yield (f"{archive.label}: {name} and {before} overlap at byte {begin}; the file is damaged or made to "
                   "deceive")
        if stop > reach:
            reach, before = stop, name
