"""Reads what somebody types: a line, or several where a line says that it goes on."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK = 1 << 16


class Typed:
    """Lines of the standard input as bytes, read without a buffer of Python's, so that a pipe loses nothing."""

    def __init__(self, multiline: bool, read: Callable[[int], bytes | None] | None = None) -> None:
        """`read` gives at most so many bytes, b"" at the end; else the standard input is read."""
        self.multiline = multiline
        self._read = read or (lambda count: os.read(0, count))
        self._held = b""
        self._ended = False

    def turn(self) -> bytes | None:
        """Return one turn without its last newline, or None at the end of the input.

        A backslash at a line's end carries the turn over to the next line. With `multiline` it is the other way
        round: the turn goes on until a line ends in a backslash or a slash.
        """
        lines: list[bytes] = []
        while True:
            line = self._line()
            if line is None:
                return b"\n".join(lines) if lines else None
            marked = line.endswith((b"\\", b"/") if self.multiline else b"\\")
            lines.append(line[:-1] if marked else line)
            if marked is self.multiline:
                return b"\n".join(lines)

    def _line(self) -> bytes | None:
        while b"\n" not in self._held and not self._ended:
            data = self._read(CHUNK)
            self._held += data or b""
            self._ended = not data
        if not self._held:
            return None
        line, _, self._held = self._held.partition(b"\n")
        return line.removesuffix(b"\r")
