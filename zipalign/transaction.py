"""Adds bytes to a file so that at every instant it ends in a whole directory: the old one until one truncation commits.

The bytes of the file as it was are never touched. Before anything else a *tail* is put far behind the room the new
bytes need: a copy of the old directory, and an end record whose comment names the byte up to which the archive was
whole. So a run that is killed leaves an archive that every program reads as it was before, and that says what happened.
The new members and the new directory are then written into the hole in between, and ftruncate to the end of the new
directory is the one step that makes them the archive. Undoing is one ftruncate to the old length.
"""

from __future__ import annotations

import contextlib
import errno
import os

from zipalign import records
from zipalign.locate import Directory, locate, pread
from zipalign.lock import Say, locked, same_file, unlocked
from zipalign.reader import Members
from zipalign.rescue import search_back

PAGE = 4096  # a write within one page is done wholly or not at all, whatever kills the process
AHEAD = 64 << 20  # bytes of room made at once for a stream whose length is unknown


class Transaction:
    """One run on one file, locked; `kept` holds the old records by name, new bytes may begin at `end`.

    Use in a with block: an exception undoes everything, and so does leaving without commit().
    """

    def __init__(self, path: str | os.PathLike, *, say: Say, wait: float | None = None):
        self.label, self._say, self._wait = os.fspath(path), say, wait
        self.fd, self.end = -1, 0
        self.directory: Directory | None = None
        self.kept: dict[str, bytes] = {}
        self._old = b""  # the old directory, all its offsets from the file's beginning
        self._limit = self._stop = 0  # where the tail begins, once there is one, and ends; new bytes stay below
        self._tail = (0, 0, 0)  # count, size and position of the directory that the file's end speaks of
        self._margin = 0  # bytes that the new directory will need at most
        self._open = self._touched = False

    def __enter__(self) -> Transaction:
        self.fd, self._created = locked(self.label, self._say, self._wait)
        self._open = True
        try:
            self._recover()
            self._before = os.fstat(self.fd)
            self.end = self._before.st_size
            self._read_directory()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def _recover(self) -> None:
        """Cut off what an interrupted run has left, so that the file is as it was before that run."""
        size = os.fstat(self.fd).st_size
        good, directory = locate(self.fd, self.label, size)
        if good is not None:
            if directory:
                self._members(directory)  # a damaged one is an error while nothing has been dropped
            self._say(f"{self.label}: an earlier run was interrupted; dropping the {size - good} bytes it left behind "
                      f"the last good directory ({directory.count if directory else 0} members, byte {good})")
            os.ftruncate(self.fd, good)

    def _read_directory(self) -> None:
        """Read the old directory, if there is one."""
        found = locate(self.fd, self.label, self.end)[1] or search_back(self.fd, self.label, self.end)
        if found is None:
            return
        if found.stop != self.end:
            self._say(f"{self.label}: the {self.end - found.stop} bytes behind the last good directory ({found.count} "
                      f"members, byte {found.stop}) belong to no archive; they stay, unused")
        members = self._members(found)
        for name in members:
            record = members.record(name)
            self.kept[name] = record if not found.base else records.moved_record(record, members[name], self.label)
        self.directory, self._old = found, b"".join(self.kept.values())
        self._tail = (len(self.kept), found.size, found.position)

    def _members(self, where: Directory) -> Members:
        """Read a directory."""
        raw = pread(self.fd, where.size, where.position, self.label)
        return Members(raw, where.count, where.base, self.label)

    def expect(self, upto: int, margin: int) -> None:
        """Make room for new bytes up to a file offset, and behind them for a directory of at most `margin` bytes."""
        self._margin = margin
        self._place(upto + margin)

    def reserve(self, upto: int) -> None:
        """Make sure that new bytes may be written up to a file offset."""
        if upto + self._margin <= self._limit:
            return
        try:
            self._place(upto + self._margin + max(AHEAD, upto - self.end))
        except OSError as problem:
            if problem.errno not in (errno.EFBIG, errno.EINVAL):
                raise
            self._place(upto + self._margin)  # no file of that size here: make no more room than is needed

    def put(self, at: int, data: bytes | bytearray | memoryview) -> None:
        """Write new bytes at a file offset."""
        self.reserve(at + len(data))
        self._write(at, data)

    def _place(self, limit: int) -> None:
        """Put a tail behind `limit`; the first write, within a page, already makes the file end in a good directory."""
        at = -(-(limit + len(self._old)) // PAGE) * PAGE
        position = at - len(self._old)  # right before its end record, where other programs look for it
        count, size, offset = self._tail if self.directory else (0, 0, at)  # the old count: `kept` is the caller's
        comment, wide = records.mark(self.end), at >= records.FULL32  # both writes have one length
        self._touched = True
        self._write(at, records.end_records(count, size, offset, at, comment, wide))
        stale, self._limit = self._limit, position
        if self._old:
            self._write(position, self._old)
            self._tail = (count, len(self._old), position)
            self._write(at, records.end_records(*self._tail, at, comment, wide))
        if stale:  # gaps between members must stay zeros
            self._write(stale, bytes(self._stop - stale))
        self._stop = os.fstat(self.fd).st_size

    def _write(self, at: int, data: bytes | bytearray | memoryview) -> None:
        """Write all bytes at a file offset."""
        rest = memoryview(data)
        while rest:
            done = os.pwrite(self.fd, rest, at)
            at, rest = at + done, rest[done:]

    def commit(self, new: list[bytes], at: int, *, zip64: bool = False, sync: bool = False) -> None:
        """Write the directory, of the kept and the new records, to `at` and make it the file's; sync: onto the disk."""
        directory = b"".join([*self.kept.values(), *new])
        comment = self.directory.comment if self.directory else b""
        close = records.end_records(len(self.kept) + len(new), len(directory), at, at + len(directory), comment, zip64)
        self._margin = 0
        self.put(at, directory + close)
        if sync:
            os.fsync(self.fd)
        os.ftruncate(self.fd, at + len(directory) + len(close))
        self._touched = self._created = False
        if sync:
            os.fsync(self.fd)

    def _leave(self) -> None:
        """Undo what was not committed, and close the file."""
        if not self._open:
            return
        self._open = False
        try:
            if self._touched:
                os.ftruncate(self.fd, self.end)
                with contextlib.suppress(PermissionError):  # only the owner may set times
                    os.utime(self.fd, ns=(self._before.st_atime_ns, self._before.st_mtime_ns))
            if self._created and same_file(self.fd, self.label):
                os.unlink(self.label)
        finally:
            unlocked(self.fd)
