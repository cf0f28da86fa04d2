"""The running executable as an archive, and the files that belong to the packages, frozen or in a checkout."""

from __future__ import annotations

import os
import sys

from llamafile.errors import LlamafileError
from zipalign.reader import Archive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from zipalign.records import Member

_FROZEN = "_launcher" in sys.builtin_module_names
_ROOT = "" if _FROZEN else os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_opened: list[Archive] = []


def archive() -> Archive | None:
    """Return the running executable opened as an archive, the same one every time, or None when run from source.

    Raises ZipError where its directory is gone; says on stderr what else the launcher found odd about the file."""
    if not _FROZEN:
        return None
    if not _opened:
        import _launcher

        _opened.append(Archive(_launcher.fd, _launcher.path))
        if _launcher.notice:
            print(f"llamafile: {_launcher.path}: {_launcher.notice}", file=sys.stderr)
    return _opened[0]


def path() -> str | None:
    """Return where the running executable lies, or None when run from source."""
    if not _FROZEN:
        return None
    import _launcher

    return _launcher.path


def let_go() -> None:
    """Let go of the pages that modules were read from, several times as many as the modules need; they come back."""
    if _FROZEN:
        import _launcher

        _launcher.let_go()


def root() -> str | None:
    """Return the folder of the sources, or None in the executable."""
    return _ROOT or None


def names(folder: str) -> list[str]:
    """Return the sorted names of the files below a folder of the packages, as `gpu_modules/cuda`; [] without one."""
    inside = folder.rstrip("/") + "/"
    box = archive()
    if box is not None:
        return sorted(name for name in box.members if name.startswith(inside))
    found = [os.path.join(at, file) for at, _, files in os.walk(os.path.join(_ROOT, folder)) for file in files]
    return sorted(os.path.relpath(file, _ROOT).replace(os.sep, "/") for file in found)


def read(name: str) -> bytes:
    """Return the bytes of a file by its name in the source tree, as `gpu_modules/cuda/norm.cu`; checked when frozen."""
    box = archive()
    if box is None:
        try:
            with open(os.path.join(_ROOT, name), "rb") as file:
                return file.read()
        except OSError as problem:
            raise LlamafileError(
                f"{name}: cannot be read: {problem.strerror}; check out the sources again"
            ) from problem
    member = box.members.get(name)
    if member is None:
        raise LlamafileError(f"{box.label}: it has no member {name}; build the executable again")
    return _checked(box, member)


def _checked(box: Archive, member: Member) -> bytes:
    import zlib

    data = box.read(member)
    if zlib.crc32(data) != member.crc:
        raise LlamafileError(f"{box.label}: member {member.name} is damaged; copy the file again")
    return data
