"""What can become a member: bytes, a file or a part of one, or a stream; checked before anything is written."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from zipalign import ZipError, records
from zipalign.copy import summed

ALIGN = 65536  # bytes: a multiple of every page size in use
LARGEST_ALIGN = 1 << 30
IN_MEMORY = 256 << 10  # bytes; a smaller file is read at once


@dataclass(frozen=True, slots=True)
class Part:
    """A range of an open file, as a source; crc, if known, is compared with what was read."""

    fd: int
    begin: int
    size: int
    label: str
    crc: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A member to be: its name, and its bytes as a path, a buffer, a Part or an iterable of chunks of any total length.

    mode: the Unix permissions; None takes 0755 for an executable file and 0644 for all else. level: 0 stores, 1 to 9
    deflate. align: a power of two that the data's offset in the file is a multiple of. mtime: a Unix time, or None for
    the one date that all members have.
    """

    name: str
    source: str | os.PathLike | bytes | bytearray | memoryview | Part | Iterable[bytes]
    mode: int | None = None
    level: int = 0
    align: int = ALIGN
    mtime: int | None = None


class Source:
    """An entry that was found good, with what its records need; bound is the most bytes its data can take."""

    unbounded = False
    identity: tuple[int, int] | None = None  # device and inode of the file at a path

    def __init__(self, entry: Entry, size: int, mode: int):
        self.entry, self.raw_name, self.mode = entry, _raw_name(entry.name), mode | stat.S_IFREG
        self.size = size
        self.bound = size + (size // 1000 + 64 if entry.level else 0)  # deflate grows by 5 bytes per 16 KiB at most
        self.extra, self.moment = b"", records.EPOCH
        if entry.mtime is not None:
            self.extra = records.time_field(entry.mtime)
            self.moment = records.dos_time(*time.gmtime(entry.mtime)[:6])
        if not 0 <= entry.level <= 9:
            raise ZipError(f"{entry.name}: cannot be deflated by level {entry.level}; give one from 0 to 9")
        if not 1 <= entry.align <= LARGEST_ALIGN or entry.align & entry.align - 1:
            raise ZipError(f"{entry.name}: cannot be aligned to {entry.align}; give a power of two, {LARGEST_ALIGN} at "
                           "most")

    def compare(self, crc: int) -> None:
        """Raise ZipError where the bytes read are known to be wrong."""


class Content(Source):
    """Bytes in memory, or a small file."""

    def __init__(self, entry: Entry, size: int, mode: int, path: str | None = None):
        super().__init__(entry, size, mode)
        self._path = path

    def read(self) -> bytes | bytearray | memoryview:
        """Return the bytes."""
        if self._path is None:
            return memoryview(self.entry.source).cast("B")  # type: ignore[arg-type]
        with _reading(self._path) as fd:
            data = os.read(fd, self.size + 1)
        if len(data) != self.size:
            raise ZipError(f"{self._path}: changed while it was read; run again when nothing writes to it")
        return data


class Range(Source):
    """A file, or a part of one."""

    def __init__(self, entry: Entry, part: Part | None, path: str | None, found: os.stat_result, mode: int):
        super().__init__(entry, part.size if part else found.st_size, mode)
        self.begin = part.begin if part else 0
        self._part, self._path, self._found = part, path, found
        self.label = part.label if part else str(path)

    @contextlib.contextmanager
    def opened(self) -> Iterator[int]:
        """Open the file, and at the end make sure that nobody has written to it meanwhile."""
        with contextlib.nullcontext(self._part.fd) if self._part else _reading(str(self._path)) as fd:
            yield fd
            now, then = os.fstat(fd), self._found
            if not self._part and (now.st_size, now.st_mtime_ns, now.st_ino) != (
                    then.st_size, then.st_mtime_ns, then.st_ino):
                raise ZipError(f"{self.label}: changed while it was read; run again when nothing writes to it")

    @contextlib.contextmanager
    def chunks(self) -> Iterator[Iterator[memoryview]]:
        """Open the file and give its blocks."""
        with self.opened() as fd:
            yield (block for block, _ in summed(fd, self.begin, self.begin + self.size, 0, self.label))

    def compare(self, crc: int) -> None:
        """Raise ZipError where the part's sum was known and is another."""
        if self._part and self._part.crc not in (None, crc):
            raise ZipError(f"{self.label}: its checksum is wrong; the file is damaged: get it again")


class Stream(Source):
    """Chunks whose number and length nobody knows yet."""

    unbounded = True

    @contextlib.contextmanager
    def chunks(self) -> Iterator[Iterable[bytes]]:
        """Give the chunks."""
        yield self._read()

    def _read(self) -> Iterator[bytes]:
        """Pass the chunks on; an error of the system in reading them is theirs, not the archive's."""
        try:
            yield from self.entry.source  # type: ignore[misc]
        except OSError as problem:
            raise ZipError(f"{self.entry.name}: cannot be read: {problem.strerror or problem}; check where it comes "
                           "from") from problem


def prepared(entries: Iterable[Entry]) -> list[Content | Range | Stream]:
    """Check all entries, and that no two have one name."""
    sources: dict[str, Content | Range | Stream] = {}
    for entry in entries:
        if entry.name in sources:
            raise ZipError(f"{entry.name}: is the name of two of the files to add; leave one out or rename it")
        sources[entry.name] = _prepared(entry)
    return list(sources.values())


def _prepared(entry: Entry) -> Content | Range | Stream:
    """Turn an entry into a source."""
    given = entry.source
    if isinstance(given, (str, os.PathLike)):
        return _file(entry, os.fspath(given))
    mode = 0o644 if entry.mode is None else entry.mode
    if isinstance(given, (bytes, bytearray, memoryview)):
        return Content(entry, memoryview(given).nbytes, mode)
    if isinstance(given, Part):
        return Range(entry, given, None, os.fstat(given.fd), mode)
    return Stream(entry, 0, mode)


def _file(entry: Entry, path: str) -> Content | Range:
    """Look at a file that is to be a member: it must be regular and readable."""
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise ZipError(f"{path}: is not a regular file; give files only (a folder's files one by one: find DIR "
                           "-type f)")
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as problem:
        raise ZipError(f"{path}: cannot be read: {problem.strerror}; check the path and its permissions") from problem
    mode = entry.mode if entry.mode is not None else 0o755 if found.st_mode & 0o111 else 0o644
    source = (Content(entry, found.st_size, mode, path) if found.st_size <= IN_MEMORY
              else Range(entry, None, path, found, mode))
    source.identity = (found.st_dev, found.st_ino)  # the archive itself cannot be its member
    return source


@contextlib.contextmanager
def _reading(path: str) -> Iterator[int]:
    """Open a file to read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as problem:
        raise ZipError(f"{path}: cannot be read: {problem.strerror}; check the path and its permissions") from problem
    try:
        yield fd
    finally:
        os.close(fd)


def _raw_name(name: str) -> bytes:
    """Encode a member's name, which must be a relative path that leads nowhere else."""
    try:
        raw = name.encode()
    except UnicodeEncodeError as problem:
        raise ZipError(f"{name!r}: is not UTF-8, which names in a ZIP must be; rename the file") from problem
    if not raw or name.startswith("/") or ".." in name.split("/") or "\0" in name or len(raw) > records.FULL16:
        raise ZipError(f"{name[:200]!r}: cannot be a member's name; give a relative path without '..', 65535 bytes at "
                       "most")
    return raw
