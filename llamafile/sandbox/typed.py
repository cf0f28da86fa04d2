"""What was typed at the keyboard, as the one witness of what somebody wants opened."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_KEPT = 1 << 15  # bytes of the past that count
_TAB, _ESCAPE, _ENTER, _BACK = 9, 27, (10, 13), (8, 127)
_CTRL_U, _CTRL_W = 21, 23
_BORDER = b" \t\n'\"="  # around a path: what stands between two of them must be the whole of it


class Typed:
    """Reads the standard input and remembers it as text; keys that take back what was typed do so here as well.

    An editor that puts the cursor back into a line gets out of step with it; then a path is asked about."""

    def __init__(self) -> None:
        self.text = bytearray(b"\n")
        self._escape = b""  # how far a key of several bytes has come

    def read(self, count: int, seconds: float | None, other: int) -> bytes | None:
        """Return bytes from the keyboard, b"" at its end; None after `seconds`, or where `other` becomes readable."""
        from select import select

        if 0 not in select([0, other], [], [], seconds)[0]:
            return None
        try:
            data = os.read(0, count)
        except OSError:  # the terminal has gone
            data = b""
        for key in data:
            self._note(key)
        del self.text[: max(0, len(self.text) - _KEPT)]
        return data

    def _note(self, key: int) -> None:
        if self._escape:
            self._go_on(key)
        elif key == _ESCAPE:
            self._escape = b"\x1b"
        elif key == _TAB:
            self.text.append(key)  # until something is completed for it; a command's name ends with it as well
        elif key in _ENTER:
            self.text.append(10)
        elif key in _BACK:
            self._take_back_character()
        elif key == _CTRL_U:
            del self.text[self.text.rfind(b"\n") + 1 :]
        elif key == _CTRL_W:
            self._take_back_word()
        elif key >= 32:
            self.text.append(key)

    def _go_on(self, key: int) -> None:
        """ESC [ … letter, ESC O letter, and ESC with another key type nothing."""
        if self._escape == b"\x1b":
            self._escape = b"[" if key in b"[O" else b""
        elif 64 <= key <= 126:
            self._escape = b""

    def _take_back_character(self) -> None:
        while self.text[-1] == _TAB or self.text[-1] & 0xC0 == 0x80:
            del self.text[-1]
        if self.text[-1] != 10:
            del self.text[-1]

    def _take_back_word(self) -> None:
        while self.text[-1:] in (b" ", b"\t"):
            del self.text[-1]
        del self.text[max(self.text.rfind(b" "), self.text.rfind(b"\n")) + 1 :]

    def has(self, path: str, commands: Iterable[str]) -> bool:
        """Whether the whole path was typed behind one of the commands, plainly or with its spaces escaped."""
        data, words = _bytes(path), [_bytes(command) for command in commands]
        return any(self._stands(form, words) for form in {data, data.replace(b" ", b"\\ ")} if form)

    def _stands(self, data: bytes, words: list[bytes]) -> bool:
        at = self.text.find(data, 1)
        while at >= 0:
            end = at + len(data)
            whole = self.text[at - 1] in _BORDER and (end == len(self.text) or self.text[end] in _BORDER)
            if whole and self._follows(bytes(self.text[self.text.rfind(b"\n", 0, at) + 1 : at]), words):
                return True
            at = self.text.find(data, at + 1)
        return False

    @staticmethod
    def _follows(before: bytes, words: list[bytes]) -> bool:
        """Whether a line begins with one of the words, or with the beginning of one and Tab."""
        name, tab, _ = before.partition(b"\t")
        if any(before.startswith(word + b" ") for word in words):
            return True
        return bool(tab) and len(name) > 1 and any(word.startswith(name) for word in words)

    def may_complete(self, beginning: str) -> bool:
        """Whether Tab was pressed behind this beginning of a path; once for each time."""
        data = _bytes(beginning) + b"\t"
        at = len(self.text) - len(data)
        if at < 1 or not self.text.endswith(data) or self.text[at - 1] not in _BORDER:
            return False
        del self.text[-1]
        return True

    def complete(self, addition: str) -> None:
        """Take what a completion adds to the line as typed."""
        self.text += _bytes(addition)

    def agrees(self, what: str) -> bool:
        """Ask on the terminal whether something that was not typed may be done; False without a terminal."""
        import termios

        shown = "".join(character if character.isprintable() else "?" for character in what)
        try:
            termios.tcflush(0, termios.TCIFLUSH)  # what was typed before the question is no answer to it
            os.write(0, f"\r\nllamafile: {shown}? [y/N] ".encode("utf-8", "replace"))
            answer = os.read(0, 64)
            os.write(0, b"\r\n")
        except (OSError, termios.error):
            return False
        return answer[:1] in (b"y", b"Y")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
