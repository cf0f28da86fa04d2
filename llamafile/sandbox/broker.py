"""The broker as its client sees it: a small process, forked before the door closes, that opens what was asked for."""

from __future__ import annotations

import os
import sys

from llamafile.errors import LlamafileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, BinaryIO

LONGEST = 1 << 16  # bytes of a message
MOST_TYPED = 1 << 14  # bytes of one reading


class Broker:
    """Opens files for a process that cannot any more; every method raises LlamafileError with one line.

    It opens three things and nothing else, whatever a hijacked client asks for: paths that were named at its start,
    files in folders that were named then, and paths that somebody has typed at the keyboard, which it reads itself for
    that reason (`read`); what was neither it asks about on the terminal. It ends when its client does."""

    def __init__(self, socket: Any, process: int) -> None:
        import _thread

        self._socket, self.process = socket, process
        self._lock = _thread.allocate_lock()
        self._count = 0
        self._typed, self._ended = b"", False

    @classmethod
    def start(cls, *, paths: Iterable[str] = (), folders: Mapping[str, str] | None = None,
              keyboard: bool = False, endings: Iterable[str] = (), reads: Iterable[str] = ("/upload", "/load"),
              writes: Iterable[str] = ("/save", "/dump")) -> Broker:
        """Fork it: before there are threads, and before anything is open that it should not hold.

        `paths` may be opened and replaced later, files in `folders` (key → path, which must be there) by their names;
        with `keyboard`, the standard input is to be read through the broker, and paths typed there behind the commands
        that read or write may be opened so, with one of the `endings` behind them as well."""
        import _signal
        import _socket

        from llamafile.sandbox import opener

        words = {"endings": tuple(endings), "reads": tuple(reads), "writes": tuple(writes)}
        named = [os.path.abspath(path) for path in paths]
        opened = {key: opener.open_folder(path) for key, path in (folders or {}).items()}
        here, there = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        before = _signal.pthread_sigmask(_signal.SIG_BLOCK, opener.NOT_FOR_IT)  # until it ignores them
        process = os.fork()
        if not process:
            here.close()
            opener.main(there, named, opened, keyboard, words)  # does not return
        _signal.pthread_sigmask(_signal.SIG_SETMASK, before)
        there.close()
        for fd in opened.values():
            os.close(fd)
        return cls(here, process)

    def open(self, path: str, mode: str = "r") -> int:
        """Return a descriptor of the file at a path (~ is the home folder): "r", "w" (made, or emptied) or "a"."""
        return self._ask("open", path, mode).descriptor()

    def open_in(self, folder: str, name: str, mode: str = "r") -> int:
        """Return a descriptor of a regular file in a folder by its key; to read, a name may lead into folders below."""
        return self._ask("open in", name, folder, mode).descriptor()

    def replacing(self, path: str) -> Replacement:
        """Return a with block that yields a new binary file; it takes the place of the old one afterwards."""
        return Replacement(self, self._ask("replace", path))

    def replacing_in(self, folder: str, name: str) -> Replacement:
        """The same for a file in a folder by its key."""
        return Replacement(self, self._ask("replace in", name, folder))

    def complete(self, beginning: str) -> list[str]:
        """Return at most 100 paths that go on from the path at the end of the line, folders with a slash at their end.

        Ask when Tab was pressed, once for each time, and put what all of them have in common into the line."""
        return [_text(path) for path in self._ask("complete", beginning).payload.split(b"\0") if path]

    def read(self, count: int = MOST_TYPED, seconds: float | None = None) -> bytes | None:
        """Return what was typed, at most count bytes; b"" at the end of the input, None where nothing came in time."""
        if not self._typed and not self._ended:
            self._keep(self._ask("read", str(min(count, MOST_TYPED)), "" if seconds is None else str(seconds)))
        data, self._typed = self._typed[:count], self._typed[count:]
        return data if data or self._ended else None

    def fileno(self) -> int:
        """The descriptor that becomes readable when there is something to `take`."""
        return self._socket.fileno()

    def want(self) -> None:
        """Have the keyboard read while this process waits for other things too; `take` what was typed."""
        with self._lock:
            self._socket.send(b"0\0read\0%d\0" % MOST_TYPED)

    def take(self) -> bytes | None:
        """Return what was typed after `want`: as `read`, None where it was called off by a later request."""
        if not self._typed and not self._ended:
            with self._lock:
                self._keep(self._receive())
        return self.read() if self._typed or self._ended else None

    def close(self) -> None:
        """End the broker and wait for it."""
        self._socket.close()
        try:  # noqa: SIM105 - contextlib would cost every start
            os.waitpid(self.process, 0)
        except ChildProcessError:
            pass

    def _ask(self, *words: str) -> Answer:
        """Send a request and wait for its answer; raises the line that the broker refuses it with."""
        with self._lock:
            self._count += 1
            message = b"\0".join(word.encode("utf-8", "surrogateescape") for word in (str(self._count), *words))
            if len(message) > LONGEST or any("\0" in word for word in words):
                raise LlamafileError(f"{words[1][:99]!r}: is no name of a file; give another")
            try:
                self._socket.send(message)
                answer = self._receive()
                while answer.number != self._count:  # Ctrl-C came while one was waited for
                    self._put_back(answer)
                    answer = self._receive()
            except OSError:
                raise LlamafileError(f"{words[1]}: the process that opens files has ended; start anew") from None
        if answer.kind == b"no":
            raise LlamafileError(_text(answer.payload))
        return answer

    def _receive(self) -> Answer:
        import _socket

        flags, space = _socket.MSG_CMSG_CLOEXEC, _socket.CMSG_SPACE(4)
        data, ancillary, _, _ = self._socket.recvmsg(LONGEST + 64, space, flags)
        if not data:
            raise OSError
        fds = [int.from_bytes(item[:4], sys.byteorder) for _, kind, item in ancillary if kind == _socket.SCM_RIGHTS]
        number, kind, payload = data.split(b"\0", 2)
        return Answer(int(number) if number.isdigit() else 0, kind, payload, fds)

    def _put_back(self, answer: Answer) -> None:
        for fd in answer.fds:
            os.close(fd)
        self._keep(answer)

    def _keep(self, answer: Answer) -> None:
        if answer.kind == b"typed":
            self._typed += answer.payload
        self._ended = self._ended or answer.kind == b"end"


class Answer:
    """What the broker answers: the request's number, one word, bytes, and at most one descriptor."""

    def __init__(self, number: int, kind: bytes, payload: bytes, fds: list[int]) -> None:
        self.number, self.kind, self.payload, self.fds = number, kind, payload, fds

    def descriptor(self) -> int:
        """The one descriptor that came with it."""
        if len(self.fds) != 1:
            raise LlamafileError("file: there are too many open ones; raise ulimit -n")
        return self.fds[0]


class Replacement:
    """A with block around a new file; what it held is in the old one's place afterwards, whole or not at all."""

    def __init__(self, broker: Broker, answer: Answer) -> None:
        self.broker, self.key = broker, _text(answer.payload)
        self.file: BinaryIO = os.fdopen(answer.descriptor(), "wb")

    def __enter__(self) -> BinaryIO:
        return self.file

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            self.file.close()  # which may find the disk full
        except OSError:
            self.broker._ask("drop", self.key)
            if kind is None:
                raise
            return
        self.broker._ask("drop" if kind else "keep", self.key)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
