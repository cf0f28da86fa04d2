"""What was typed in earlier chats: one line for each turn in a file that only its owner reads."""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAME = "llamafile_history"
MOST_READ = 1 << 18  # bytes of the file's end that are remembered
LONGEST = 1 << 14  # characters of a turn that is kept; a longer one is somebody's document


class HistoryFile:
    """The file, open for as long as the chat runs: later, nothing may be opened any more. `fd` is -1 without one."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self.fd = -1
        reasons = []
        for path, private in places():
            try:
                self.fd = _open(path, private)
            except OSError as problem:
                reasons.append(f"{path}: {problem.strerror}")
                continue
            if reasons:
                note(f"history: is kept in {path} ({reasons[0]})")
            return
        note(f"history: is not kept ({reasons[0] if reasons else 'HOME is not set'}); set LLAMAFILE_CACHE to a folder "
             "of yours")

    def turns(self) -> list[str]:
        """Return the turns in the file, the latest last."""
        if self.fd < 0:
            return []
        size = os.fstat(self.fd).st_size
        data = os.pread(self.fd, MOST_READ, max(0, size - MOST_READ))
        lines = data.decode("utf-8", "replace").split("\n")
        return [_unescaped(line) for line in lines[1 if size > MOST_READ else 0 :] if line]

    def add(self, text: str) -> None:
        """Append a turn; a full disk is no reason to stop chatting."""
        if self.fd < 0 or not text.strip() or len(text) > LONGEST:
            return
        line = text.replace("\\", "\\\\").replace("\n", "\\n") + "\n"
        try:
            os.write(self.fd, line.encode("utf-8", "replace"))
        except OSError:
            os.close(self.fd)
            self.fd = -1


def places() -> Iterator[tuple[str, bool]]:
    """Yield where the file may lie, best first, and whether its folder is ours to make and must be private."""
    environment = os.environ.get
    if environment("LLAMAFILE_CACHE"):
        yield os.path.join(environment("LLAMAFILE_CACHE", ""), NAME), True
    home = os.path.expanduser("~")
    if os.path.isabs(home):
        yield os.path.join(home, "." + NAME), False
    if environment("XDG_RUNTIME_DIR"):
        yield os.path.join(environment("XDG_RUNTIME_DIR", ""), NAME), False
    yield os.path.join(environment("TMPDIR") or "/tmp", f"llamafile-{os.getuid()}", NAME), True


def _open(path: str, private: bool) -> int:
    """Open the file to read and to append; raises OSError, also where somebody else could have put it there."""
    if private:
        folder = os.path.dirname(path)
        os.makedirs(folder, 0o700, exist_ok=True)
        found = os.stat(folder, follow_symlinks=False)
        if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o022:
            raise PermissionError(0, "the folder is not yours alone")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    found = os.fstat(fd)
    if found.st_uid != os.getuid() or not stat.S_ISREG(found.st_mode):
        os.close(fd)
        raise PermissionError(0, "the file is not yours")
    if found.st_mode & 0o077:
        os.fchmod(fd, 0o600)
    return fd


def _unescaped(line: str) -> str:
    return "\\".join(part.replace("\\n", "\n") for part in line.split("\\\\"))
