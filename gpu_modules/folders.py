"""Where compiled modules are kept between runs: the first folder of a list that is ours and can be written to."""

from __future__ import annotations

import contextlib
import os
import stat

from gpu_modules import GpuFault

ROOM = 64 << 20  # bytes free for a module and what a compiler writes on its way


def places(version, environment=os.environ):
    """The folders in the order in which they are tried; none of them need exist."""
    found = []
    if environment.get("LLAMAFILE_CACHE"):
        found.append(environment["LLAMAFILE_CACHE"])
    home = environment.get("HOME")
    if home and home != "/":
        found.append(os.path.join(home, ".llamafile", "v", version))
    if environment.get("XDG_RUNTIME_DIR"):
        found.append(os.path.join(environment["XDG_RUNTIME_DIR"], "llamafile", version))
    found.append(os.path.join(environment.get("TMPDIR") or "/tmp", f".llamafile-{os.getuid()}", version))
    return found


def problem(folder):
    """Why the folder may not be used, or None: code is loaded from it, so nobody else may write there."""
    try:
        facts = os.stat(folder)
    except OSError as wrong:
        return wrong.strerror
    if not stat.S_ISDIR(facts.st_mode):
        return "is no folder"
    if facts.st_uid != os.getuid():
        return "belongs to another user"
    if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "can be written to by others"
    return None


def readable(version, environment=os.environ):
    """The folders that are there and may be used."""
    return [folder for folder in places(version, environment) if problem(folder) is None]


def writable(version, environment=os.environ):
    """Yield each folder that can be written to, made where it was missing; raises GpuFault where there is none."""
    said, any_good = [], False
    for folder in places(version, environment):
        wrong = _try(folder)
        if wrong is None:
            any_good = True
            yield folder
        else:
            said.append(f"{folder} ({wrong})")
    if not any_good:
        raise GpuFault(f"no folder for compiled modules: {', '.join(said)}; set LLAMAFILE_CACHE to one of yours")


def _try(folder):
    """Make the folder and a file in it; the reason where that does not work."""
    mark = os.path.join(folder, f".try-{os.getpid()}")
    try:
        os.makedirs(folder, 0o700, exist_ok=True)
        wrong = problem(folder)
        if wrong:
            return wrong
        facts = os.statvfs(folder)
        if facts.f_bavail * facts.f_frsize < ROOM:
            return "its disk is full"
        with open(mark, "wb") as file:
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as why:
        return why.strerror
    finally:
        with contextlib.suppress(OSError):  # it was never made
            os.unlink(mark)
    return None
