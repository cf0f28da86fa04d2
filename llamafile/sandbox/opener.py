"""The broker itself: waits for requests, decides by what was named at its start or typed since, opens, and answers."""

from __future__ import annotations

import _signal
import os
import stat

from llamafile.errors import LlamafileError
from llamafile.sandbox.typed import Typed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

_OPEN = os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK  # a pipe that nobody serves must not hold it up
_NEW = os.O_CREAT | _OPEN
_MODES = {"r": os.O_RDONLY | _OPEN, "w": os.O_WRONLY | os.O_TRUNC | _NEW, "a": os.O_WRONLY | os.O_APPEND | _NEW}
NOT_FOR_IT = (_signal.SIGINT, _signal.SIGQUIT, _signal.SIGWINCH)  # signals that a terminal sends to all its processes
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_WORDS = {"r": "reading", "w": "writing", "a": "writing"}
_MOST = 100  # completions
_LONGEST_REQUEST = (1 << 16) + 64


def open_folder(path: str) -> int:
    """Return a descriptor of a folder that files will be opened in; LlamafileError where there is none."""
    try:
        return os.open(path, _FOLDER)
    except OSError as problem:
        raise LlamafileError(f"{path}: {problem.strerror}; name a folder that is there") from None


def main(socket: Any, paths: Sequence[str], folders: dict[str, int], keyboard: bool,
         words: Mapping[str, Sequence[str]]) -> None:
    """Be the broker until the client has gone; never returns."""
    try:
        _settle(socket, folders, keyboard)
        Opener(socket, paths, folders, keyboard, words).serve()
    except BaseException:  # a traceback of this process would help nobody: its client sees that it has ended
        os._exit(1)
    os._exit(0)


def _settle(socket: Any, folders: dict[str, int], keyboard: bool) -> None:
    """Let go of all that was inherited, Ctrl-C included, and close a door of its own: no network, no programs."""
    from llamafile import sandbox

    for number in NOT_FOR_IT:
        _signal.signal(number, _signal.SIG_IGN)
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, NOT_FOR_IT)
    _signal.signal(_signal.SIGTERM, _signal.SIG_DFL)
    # While they can still be loaded; and before descriptors are closed: the executable's modules lie in some, and one
    # that is loaded by a number which another had gets that one's code.
    for module in ("select", *(("termios",) if keyboard else ())):
        __import__(module)
    kept = {socket.fileno(), *folders.values(), *((0,) if keyboard else ())}
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in {0, 1, 2} - kept:
        os.dup2(nothing, fd)
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd > 2 and fd not in kept:
            try:  # noqa: SIM105 - the listing's own is closed already
                os.close(fd)
            except OSError:
                pass
    if not sandbox.why_off(None):
        sandbox.install("broker")


class Opener:
    """Serves one client over a socket of whole messages: number, verb and words in, number, kind and bytes out."""

    def __init__(self, socket: Any, paths: Sequence[str], folders: dict[str, int], keyboard: bool,
                 words: Mapping[str, Sequence[str]]) -> None:
        self.socket, self.paths, self.folders, self.words = socket, set(paths), folders, words
        self.typed = Typed() if keyboard else None
        self.unfinished: dict[str, tuple[int | None, str, str]] = {}  # key → folder, new name, final name
        self.verbs: dict[str, Callable[..., tuple[bytes, bytes, int | None]]] = {
            "open": self.open, "open in": self.open_in, "replace": self.replace, "replace in": self.replace_in,
            "keep": self.keep, "drop": self.drop, "complete": self.complete, "read": self.read,
        }  # fmt: skip

    def serve(self) -> None:
        """Answer until the client has gone; what it left unfinished is taken away."""
        while request := self.socket.recv(_LONGEST_REQUEST):
            number, *words = map(_text, request.split(b"\0"))
            fd = None
            try:
                kind, payload, fd = self.verbs[words[0]](*words[1:])
            except (LookupError, TypeError, ValueError):
                kind, payload = b"no", b"file: a request that means nothing; start anew"
            except LlamafileError as wrong:
                kind, payload = b"no", _bytes(str(wrong))
            except OSError as problem:
                kind, payload = b"no", _bytes(f"{words[1]}: {problem.strerror}; give another")
            self._answer(b"\0".join((_bytes(number), kind, payload)), fd)
        for key in list(self.unfinished):
            self.drop(key)

    def _answer(self, message: bytes, fd: int | None) -> None:
        if fd is None:
            self.socket.send(message)
            return
        import _socket

        rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fd.to_bytes(4, "little"))
        self.socket.sendmsg([message], [rights])
        os.close(fd)

    # Paths: named at the start, or typed.

    def open(self, path: str, mode: str) -> tuple[bytes, bytes, int | None]:
        """Open a path that may be opened."""
        whole = self._allowed(path, mode)
        try:
            fd = os.open(whole, _MODES[mode], 0o666)
        except OSError as problem:
            raise LlamafileError(f"{path}: cannot be opened: {problem.strerror}; give another") from None
        return b"ok", b"", _no_folder(fd, path)

    def replace(self, path: str) -> tuple[bytes, bytes, int | None]:
        """Begin a file beside a path that may be written."""
        return self._begin(None, self._allowed(path, "w"))

    def _allowed(self, path: str, mode: str) -> str:
        whole = os.path.abspath(os.path.expanduser(path))
        if mode not in _MODES:
            raise LlamafileError(f"{path}: cannot be opened in mode {mode!r}")
        if whole in self.paths or self._was_typed(path, "reads" if mode == "r" else "writes"):
            return whole
        if self.typed is not None and self.typed.agrees(f"open {whole} for {_WORDS[mode]}"):
            return whole
        raise LlamafileError(f"{path}: may not be opened for {_WORDS[mode]}, as it was not typed here")

    def _was_typed(self, path: str, what: str) -> bool:
        """Whether it was, or with ~ for the home folder, or all of it but one of the endings."""
        home = os.path.expanduser("~")
        forms = [path, "~" + path[len(home) :]] if path.startswith(home + "/") else [path]
        return self.typed is not None and any(
            self.typed.has(form.removesuffix(ending), self.words[what]) for form in forms
            for ending in ("", *self.words["endings"]) if form.endswith(ending))

    # Folders that were named at the start.

    def open_in(self, name: str, key: str, mode: str) -> tuple[bytes, bytes, int | None]:
        """Open a regular file in a folder; no part of its name may be a link, or lead upwards."""
        *above, last = name.split("/") if mode == "r" else [name]
        at = self._folder(key, name)
        try:
            for part in [*above, last]:
                if part in ("", ".", "..") or "/" in part:
                    raise LlamafileError(f"{name}: is no name of a file there; give another")
            for part in above:
                deeper = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=at)
                os.close(at)
                at = deeper
            fd = os.open(last, _MODES[mode] | os.O_NOFOLLOW, 0o666, dir_fd=at)
        finally:
            os.close(at)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise LlamafileError(f"{name}: is no regular file; give another")
        return b"ok", b"", fd

    def replace_in(self, name: str, key: str) -> tuple[bytes, bytes, int | None]:
        """Begin a file in a folder."""
        if "/" in name or name in ("", ".", ".."):
            raise LlamafileError(f"{name}: is no name of a file there; give another")
        os.close(self._folder(key, name))
        return self._begin(self.folders[key], name)

    def _folder(self, key: str, name: str) -> int:
        if key not in self.folders:
            raise LlamafileError(f"{name}: there is no folder {key} to open it in")
        return os.dup(self.folders[key])

    # New files that take the place of old ones.

    def _begin(self, folder: int | None, final: str) -> tuple[bytes, bytes, int | None]:
        key = f"{os.getpid()}-{len(self.unfinished)}"
        fresh = f"{final}.{key}.part"
        fd = os.open(fresh, os.O_WRONLY | os.O_EXCL | os.O_NOFOLLOW | _NEW, 0o666, dir_fd=folder)
        self.unfinished[key] = (folder, fresh, final)
        return b"ok", _bytes(key), fd

    def keep(self, key: str) -> tuple[bytes, bytes, None]:
        """Put a begun file in its place."""
        folder, fresh, final = self._begun(key)
        try:
            os.rename(fresh, final, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError as problem:
            os.unlink(fresh, dir_fd=folder)
            raise LlamafileError(f"{final}: cannot be replaced: {problem.strerror}; give another") from None
        return b"ok", b"", None

    def drop(self, key: str) -> tuple[bytes, bytes, None]:
        """Take a begun file away."""
        folder, fresh, _ = self._begun(key)
        os.unlink(fresh, dir_fd=folder)
        return b"ok", b"", None

    def _begun(self, key: str) -> tuple[int | None, str, str]:
        if key not in self.unfinished:
            raise LlamafileError(f"{key}: no such file was begun")
        return self.unfinished.pop(key)

    # The keyboard.

    def read(self, count: str, seconds: str) -> tuple[bytes, bytes, None]:
        """Wait for the keyboard, and no longer than the client waits for it."""
        if self.typed is None:
            raise LlamafileError("keyboard: is not read here")
        data = self.typed.read(int(count), float(seconds) if seconds else None, self.socket.fileno())
        if data is None:
            return b"late", b"", None
        return (b"typed", data, None) if data else (b"end", b"", None)

    def complete(self, beginning: str) -> tuple[bytes, bytes, None]:
        """List what goes on from a beginning that Tab was pressed behind; what all have in common counts as typed."""
        if self.typed is None or not self.typed.may_complete(beginning):
            return b"ok", b"", None
        folder, slash, start = beginning.rpartition("/")
        try:
            names = sorted(os.listdir(os.path.expanduser(folder + slash) or "."))
        except OSError:
            return b"ok", b"", None
        paths = [folder + slash + name for name in names if name.startswith(start) and (start or name[0] != ".")]
        shown = [path + "/" if os.path.isdir(os.path.expanduser(path)) else path for path in paths[:_MOST]]
        self.typed.complete(_beginning(shown)[len(beginning) :])
        return b"ok", b"\0".join(map(_bytes, shown)), None


def _beginning(texts: list[str]) -> str:
    """What all texts have in common at their beginning."""
    first, last = min(texts, default=""), max(texts, default="")
    same = 0
    while same < min(len(first), len(last)) and first[same] == last[same]:
        same += 1
    return first[:same]


def _no_folder(fd: int, path: str) -> int:
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        os.close(fd)
        raise LlamafileError(f"{path}: is a folder; give a file")
    return fd


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
