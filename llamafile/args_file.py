"""The `.args` member: default arguments that travel with the weights, and where the user's own go among them."""

from __future__ import annotations

import os

from llamafile.errors import LlamafileError

ELLIPSIS = "..."
_BLANKS = " \t\n\v\f\r"
_C_ESCAPES = {
    "a": "\a", "b": "\b", "t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r", "e": "\x1b",
}
_OCTAL = "01234567"
_HEX = "0123456789abcdefABCDEF"


class Place:
    """Stands in a parsed file where the user's arguments go; an argument that is quoted `...` stays text."""


USER = Place()


def parse(data: bytes, environment: dict[str, str] | None = None) -> list[str | Place]:
    """Return the arguments that a `.args` file holds, with USER where a bare `...` stands.

    A line is one argument, its spaces kept and the two characters `\\n` made a newline. A line that begins with a
    quote or `#`, or with `-` and has white space, is read as words in the manner of a shell instead, over the line's
    end where a quote or a backslash asks for it. Empty lines separate. Raises LlamafileError for a quote left open.
    """
    text = data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    variables = os.environ if environment is None else environment
    found: list[str | Place] = []
    at = 0
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        line = text[at:end].removesuffix("\r")
        if _is_shell_like(line):
            at = _Words(text, at, variables).read(found)
            continue
        if line.rstrip(_BLANKS) == ELLIPSIS:
            found.append(USER)
        elif line:
            found.append(line.replace("\\n", "\n"))
        at = end + 1
    return found


def written(words: list[str]) -> bytes:
    """Return a `.args` file that `parse` reads as these words, with a last `...` where none of them is one."""
    lines = [word if word == ELLIPSIS else _line(word) for word in words]
    if ELLIPSIS not in words:
        lines.append(ELLIPSIS)
    return "".join(line + "\n" for line in lines).encode("utf-8", "surrogateescape")


def _line(word: str) -> str:
    """Return one word as a line, in quotes where it would be read as anything but itself."""
    plain = word.replace("\n", "\\n")
    odd = "\\n" in word or "\r" in word or plain[:1] in ("", "'", '"', "#") or plain.rstrip(_BLANKS) == ELLIPSIS
    if not odd and not _is_shell_like(plain) and plain[:1] != "\ufeff":
        return plain
    quoted = word.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return '"' + quoted.replace("\n", "\\n").replace("\r", "\\r") + '"'


def merge(shipped: list[str | Place], typed: list[str]) -> tuple[list[str], set[int]]:
    """Put the typed arguments where USER stands, else at the end; also return the indices of those not typed."""
    if not any(isinstance(item, Place) for item in shipped):
        shipped = [*shipped, USER]
    words: list[str] = []
    of_file: set[int] = set()
    for item in shipped:
        if isinstance(item, str):
            of_file.add(len(words))
            words.append(item)
        else:
            words.extend(typed)
            typed = []  # a second `...` has nothing left to give
    return words, of_file


def _is_shell_like(line: str) -> bool:
    return line[:1] in ("'", '"', "#") or (line[:1] == "-" and any(mark in _BLANKS for mark in line))


class _Words:
    """Reads one logical line of shell-like words, which a quote or a backslash may carry over the line's end."""

    def __init__(self, text: str, at: int, variables: object) -> None:
        self.text, self.at, self.variables = text, at, variables

    def read(self, found: list[str | Place]) -> int:
        """Append the words of this line to `found` and return the offset of the next line."""
        while self.at < len(self.text):
            mark = self.text[self.at]
            if mark == "\n":
                self.at += 1
                break
            if mark in _BLANKS:
                self.at += 1
            elif mark == "#":
                self._skip_comment()
            elif self._at_ellipsis():
                self.at += len(ELLIPSIS)
                found.append(USER)
            else:
                word = self._word()
                if word is not None:
                    found.append(word)
        return self.at

    def _skip_comment(self) -> None:
        end = self.text.find("\n", self.at)
        self.at = len(self.text) if end < 0 else end

    def _at_ellipsis(self) -> bool:
        after = self.at + len(ELLIPSIS)
        return self.text.startswith(ELLIPSIS, self.at) and (after >= len(self.text) or self.text[after] in _BLANKS)

    def _word(self) -> str | None:
        """Return the word at hand, or None where it was only a line continuation."""
        parts: list[str] = []
        quoted = False
        while self.at < len(self.text) and self.text[self.at] not in _BLANKS:
            mark = self.text[self.at]
            if mark in "'\"":
                quoted = True
                parts.append(self._quoted(mark))
            elif mark == "\\":
                parts.append(self._backslash())
            elif mark == "$":
                parts.append(self._variable())
            else:
                parts.append(mark)
                self.at += 1
        # Single bytes written as \xHH meet their neighbours here and become the character they spell.
        word = "".join(parts).encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
        return word if word or quoted else None

    def _quoted(self, quote: str) -> str:
        begin = self.at
        self.at += 1
        parts: list[str] = []
        while self.at < len(self.text):
            mark = self.text[self.at]
            if mark == quote:
                self.at += 1
                return "".join(parts)
            if quote == '"' and mark == "\\":
                parts.append(self._c_escape())
            elif quote == '"' and mark == "$":
                parts.append(self._variable())
            else:
                parts.append(mark)
                self.at += 1
        line = self.text.count("\n", 0, begin) + 1
        raise LlamafileError(f".args: the quote {quote} in line {line} is not closed; close it or write \\{quote}")

    def _backslash(self) -> str:
        """Outside quotes a backslash keeps the next character as it is, and joins two lines."""
        following = self.text[self.at + 1 : self.at + 2]
        self.at += 2 if following else 1
        if following == "\r" and self.text[self.at : self.at + 1] == "\n":
            self.at += 1
            return ""
        return "" if following == "\n" else following or "\\"

    def _c_escape(self) -> str:
        self.at += 1
        mark = self.text[self.at : self.at + 1]
        if mark and mark in _OCTAL:
            return self._code(_OCTAL, 3, 8)
        self.at += 1
        if mark == "x" and self.text[self.at : self.at + 1] and self.text[self.at] in _HEX:
            return self._code(_HEX, 2, 16)
        if mark == "\r" and self.text[self.at : self.at + 1] == "\n":
            self.at += 1
            return ""
        if mark == "\n":
            return ""
        return _C_ESCAPES.get(mark, mark)

    def _code(self, digits: str, most: int, base: int) -> str:
        """Read up to `most` digits as one byte, a lone surrogate where it is above 127."""
        begin = self.at
        while self.at < len(self.text) and self.at - begin < most and self.text[self.at] in digits:
            self.at += 1
        return bytes([int(self.text[begin : self.at], base) & 255]).decode("ascii", "surrogateescape")

    def _variable(self) -> str:
        """Return the value of $NAME or ${NAME}, nothing for one that is not set, `$` where no name follows."""
        self.at += 1
        braced = self.text.startswith("{", self.at)
        begin = end = self.at + braced
        while end < len(self.text) and _in_name(self.text[end]):
            end += 1
        if end == begin or (braced and not self.text.startswith("}", end)):
            return "$"
        self.at = end + braced
        return self.variables.get(self.text[begin:end], "")  # type: ignore[attr-defined]


def _in_name(mark: str) -> bool:
    return mark == "_" or (mark.isascii() and mark.isalnum())
