"""Opens an archive for writing, alone: a second run waits or is refused, and a file that cannot be written says why."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable

from zipalign import ZipError

POLL = 0.02  # seconds between two tries, where waiting has an end

Say = Callable[[str], object]  # shows one line to the user


def locked(path: str, say: Say, wait: float | None) -> tuple[int, bool]:
    """Return a locked descriptor, open for reading and writing, and whether the file was created by this.

    wait: seconds to wait for another run on the file before refusing; None waits as long as that takes.
    """
    while True:
        fd, created = _opened(path)
        try:
            _lock(fd, path, say, wait)
            if same_file(fd, path):  # else it was replaced or removed while this run waited
                return fd, created
        except BaseException:
            os.close(fd)
            raise
        unlocked(fd)


def unlocked(fd: int) -> None:
    """Give the lock back and close; closing alone would leave it to a child that has inherited the descriptor."""
    with contextlib.suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_UN)
    os.close(fd)


def same_file(fd: int, path: str) -> bool:
    """Whether a path still leads to an open file."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def _opened(path: str) -> tuple[int, bool]:
    """Open a regular file or create one."""
    try:
        created = False
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise ZipError(f"{path}: is not a regular file; name an archive, an executable or a new file")
        except FileNotFoundError:
            created = True
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), created
    except OSError as problem:
        if problem.errno == errno.ETXTBSY:
            raise ZipError(f"{path}: is running, and the kernel lets nobody write to a running program; stop it, or "
                           "work on a copy and rename that over it") from problem
        raise ZipError(f"{path}: cannot be opened for writing: {problem.strerror}; check the path, its permissions "
                       "and its disk") from problem


def _lock(fd: int, path: str, say: Say, wait: float | None) -> None:
    """Take the lock that every run takes; file systems without locks go without."""
    if _try(fd, fcntl.LOCK_EX | fcntl.LOCK_NB):
        return
    if wait is None:
        say(f"{path}: another run is at work on it; waiting for that to end")
        _try(fd, fcntl.LOCK_EX)
        return
    until = time.monotonic() + wait
    while not _try(fd, fcntl.LOCK_EX | fcntl.LOCK_NB):
        if time.monotonic() >= until:
            raise ZipError(f"{path}: another run is at work on it; wait for that to end and run again")
        time.sleep(POLL)


def _try(fd: int, how: int) -> bool:
    """Whether the lock was taken, or cannot be had on this file system."""
    try:
        fcntl.flock(fd, how)
    except OSError as problem:
        return problem.errno not in (errno.EWOULDBLOCK, errno.EINTR)
    return True
