"""Appends, replaces and removes members of an archive; old bytes are never moved, a new directory is all it takes."""

from __future__ import annotations

import errno
import os
import sys
import zlib
from collections.abc import Iterable, Sequence

from zipalign import ZipError, records
from zipalign.checksum import crc32
from zipalign.copy import Progress, copy_range, settle_cache, silent
from zipalign.lock import Say
from zipalign.records import Member
from zipalign.sources import Content, Entry, Range, Source, Stream, prepared
from zipalign.transaction import Transaction

SMALL = 1 << 20  # bytes of pieces that are gathered into one write
LARGEST_GAP = 4096  # bytes of zeros that are written rather than left a hole

Sources = list[Content | Range | Stream]


def append(path: str | os.PathLike, entries: Iterable[Entry], *, remove: Sequence[str] = (),
           progress: Progress = silent, say: Say | None = None, zip64: bool = False, wait: float | None = None,
           sync: bool = False) -> None:
    """Add entries to an archive, an executable or a new file, or replace members of their names; all of it or nothing.

    progress is told of source bytes as they are done, say of lines for the user; zip64 forces ZIP64 records; wait is
    how many seconds to wait for another run (None: as long as it takes); sync puts the result onto the disk.
    Raises ZipError, or what a source's iterator raises; the file is then as it was.
    """
    label, sources = os.fspath(path), prepared(entries)
    try:
        with Transaction(path, say=say or _to_stderr, wait=wait) as run:
            _refuse_itself(run, sources)
            for name in remove:
                if run.kept.pop(name, None) is None:
                    raise ZipError(f"{label}: has no member {name}; see what it has: zipalign --list {label}")
            if sources or remove or run.directory is None:
                _write(run, sources, progress, zip64, sync)
    except OSError as problem:
        raise ZipError(f"{label}: {_cause(problem)}") from problem


def _to_stderr(line: str) -> None:
    print(f"zipalign: {line}", file=sys.stderr)


def _cause(problem: OSError) -> str:
    """Say why the archive could not be written."""
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return "its disk is full; it was left as it was: make room and run again"
    if problem.errno == errno.EFBIG:
        return "its file system or a limit (ulimit -f) allows no file that large; it was left as it was"
    return f"cannot be written: {problem.strerror}; it was left as it was: check its disk"


def _refuse_itself(run: Transaction, sources: Sources) -> None:
    """Refuse the archive as a file to be put into itself."""
    own = os.fstat(run.fd)
    for source in sources:
        if source.identity == (own.st_dev, own.st_ino):
            raise ZipError(f"{run.label}: cannot be put into itself; leave it out of the files to add")


def _write(run: Transaction, sources: Sources, progress: Progress, zip64: bool, sync: bool) -> None:
    """Write all members, then the directory."""
    for source in sources:
        run.kept.pop(source.entry.name, None)
    margin = records.END_REACH + records.END64.size + records.LOCATOR.size + sum(map(len, run.kept.values()))
    upto = run.end
    for source in sources:
        upto += source.bound + source.entry.align + _room(source, True)
        margin += records.CENTRAL.size + _room(source, True)
    run.expect(upto, margin)
    outlet = _Outlet(run, progress, zip64)
    new = [outlet.add(source) for source in sources]
    outlet.flush()
    run.commit(new, outlet.at, zip64=zip64, sync=sync)


def _room(source: Source, wide: bool) -> int:
    """The bytes of a local header, its name and extra fields."""
    return records.LOCAL.size + len(source.raw_name) + len(source.extra) + (records.LOCAL_ZIP64 if wide else 0)


class _Outlet:
    """Places members one behind the other; small ones are gathered into one write."""

    def __init__(self, run: Transaction, progress: Progress, zip64: bool):
        self.run, self.progress, self.zip64 = run, progress, zip64
        self.at = run.end  # where the next byte may go
        self._begin, self._gathered = run.end, bytearray()

    def add(self, source: Content | Range | Stream) -> bytes:
        """Write one member and return its central record."""
        wide = self.zip64 or source.unbounded or source.bound >= records.FULL32
        least = self.at + _room(source, wide)
        data_at = -(-least // source.entry.align) * source.entry.align
        member = _member(source)
        if isinstance(source, Content):
            self._gather(source, member, data_at)
        else:
            self.flush()
            if isinstance(source, Range) and member.method == records.STORED:
                self._copy(source, member, data_at)
            else:
                self._pour(source, member, data_at)
            header = self._header(source, member, data_at)
            self.run.put(member.header, header)
            self._begin = self.at
        return records.central_record(member, source.raw_name, source.extra, self.zip64)

    def _header(self, source: Source, member: Member, data_at: int) -> bytes:
        """Pack the local header that ends where the data begin, now that sizes and sum are known."""
        wide = self.zip64 or member.size >= records.FULL32 or member.compressed >= records.FULL32
        header = records.local_header(member, source.raw_name, source.extra, wide)
        member.header, self.at = data_at - len(header), data_at + member.compressed
        return header

    def _gather(self, source: Content, member: Member, data_at: int) -> None:
        """Gather a member whose bytes are in memory."""
        data = source.read()
        member.crc, member.size = crc32(data), len(data)
        if member.method == records.DEFLATED:
            packer = zlib.compressobj(source.entry.level, zlib.DEFLATED, -zlib.MAX_WBITS)
            data = packer.compress(data) + packer.flush()
        member.compressed = len(data)
        header = self._header(source, member, data_at)
        gap = member.header - self._begin - len(self._gathered)
        if gap > LARGEST_GAP or len(self._gathered) + gap + len(data) > SMALL:
            self.flush()
            self._begin, gap = member.header, 0
        self._gathered += bytes(gap)
        self._gathered += header
        if len(data) > SMALL:
            self.flush()
            self.run.put(data_at, data)
        else:
            self._gathered += data
        self.progress(member.size)

    def flush(self) -> None:
        """Write what was gathered."""
        if self._gathered:
            self.run.put(self._begin, self._gathered)
            self._gathered = bytearray()
        self._begin = self.at

    def _copy(self, source: Range, member: Member, data_at: int) -> None:
        """Copy a file, or a part of one, as it is."""
        member.size = member.compressed = source.size
        self.run.reserve(data_at + source.size)
        with source.opened() as fd:
            settle = settle_cache(fd, source.begin, source.size)

            def told(count: int) -> None:
                settle(count)
                self.progress(count)

            member.crc = copy_range(fd, source.begin, source.size, self.run.fd, data_at, self.run.put, source.label,
                                    told)
        source.compare(member.crc)

    def _pour(self, source: Range | Stream, member: Member, data_at: int) -> None:
        """Write a stream of chunks, deflated or not, whose length shows when it ends."""
        packer = None
        if member.method == records.DEFLATED:
            packer = zlib.compressobj(source.entry.level, zlib.DEFLATED, -zlib.MAX_WBITS)
        with source.chunks() as chunks:
            for chunk in chunks:
                member.crc = crc32(chunk, member.crc)
                member.size += len(chunk)
                self._pass(member, data_at, packer.compress(chunk) if packer else chunk)
                self.progress(len(chunk))
        if packer:
            self._pass(member, data_at, packer.flush())
        source.compare(member.crc)

    def _pass(self, member: Member, data_at: int, data: bytes | memoryview) -> None:
        """Write the next bytes of a member."""
        self.run.put(data_at + member.compressed, data)
        member.compressed += len(data)


def _member(source: Source) -> Member:
    """Make the member of an entry, its sizes and sum still zero."""
    member = Member()
    member.name, member.flags, member.host = source.entry.name, records.UTF8, records.UNIX
    deflate = source.entry.level and (source.size or source.unbounded)  # some programs reject an empty deflated one
    member.method = records.DEFLATED if deflate else records.STORED
    member.crc = member.size = member.compressed = member.header = 0
    member.date, member.time = source.moment
    member.external = source.mode << 16
    return member
