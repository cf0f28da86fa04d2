"""A compiled module in a cache folder, and the note beside it that tells a whole one from a damaged one."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import zlib


class Kept:
    """The module NAME.so of a folder, NAME.json that describes it, and NAME.log, which the compilers wrote."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.path, self.log = os.path.join(folder, name + ".so"), os.path.join(folder, name + ".log")
        self._note = os.path.join(folder, name + ".json")

    def facts(self):
        """What was noted: size and crc of the module, the driver, what the probe saw, or a fault; {} if nothing."""
        try:
            with open(self._note) as file:
                found = json.load(file)
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def note(self, **facts):
        """Replace what was noted; raises OSError."""
        fresh = f"{self._note}.{os.getpid()}"
        try:
            with open(fresh, "w") as file:
                json.dump(facts, file)
            os.replace(fresh, self._note)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(fresh)

    def problem(self):
        """None where the module is whole, "missing", or what is wrong with it."""
        if not os.path.exists(self.path):
            return "missing"
        facts = self.facts()
        try:
            size, crc = measure(self.path)
        except OSError as wrong:
            return f"cannot be read ({wrong.strerror})"
        return None if (facts.get("size"), facts.get("crc")) == (size, crc) else "damaged"

    def take(self, made, **facts):
        """Rename a finished module into place and note its facts: whoever looks sees all of it or none."""
        size, crc = measure(made)
        self.note(size=size, crc=crc, **facts)
        os.replace(made, self.path)


def measure(path):
    """Size and CRC-32 of a file."""
    size = crc = 0
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            size, crc = size + len(piece), zlib.crc32(piece, crc)
    return size, crc


def beginning_with(folder, stem):
    """The modules of a folder whose names begin so, newest first."""
    try:
        names = [name[:-3] for name in os.listdir(folder) if name.startswith(stem) and name.endswith(".so")]
    except OSError:
        return []
    found = [Kept(folder, name) for name in names]
    return sorted((kept for kept in found if os.path.exists(kept.path)), key=lambda k: -os.stat(k.path).st_mtime)


@contextlib.contextmanager
def locked(folder, name, waiting):
    """Hold the lock of a name; `waiting` is called once where another process has it."""
    with open(os.path.join(folder, f".{name}.lock"), "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def unpack(sources, folder, digest):
    """Write {name: bytes} below folder/sources-DIGEST, whole or not at all; returns that folder. Raises OSError."""
    import shutil

    target = os.path.join(folder, f"sources-{digest}")
    fresh = f"{target}.{os.getpid()}"
    if os.path.isdir(target) and all(_holds(os.path.join(target, name), data) for name, data in sources.items()):
        return target
    try:
        for name, data in sources.items():
            path = os.path.join(fresh, name)
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            with open(path, "wb") as file:
                file.write(data)
        shutil.rmtree(target, ignore_errors=True)
        os.rename(fresh, target)
    except OSError as problem:
        if os.path.isdir(target):  # another process was faster
            return target
        raise problem
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return target


def _holds(path, data):
    try:
        with open(path, "rb") as file:
            return file.read() == data
    except OSError:
        return False
