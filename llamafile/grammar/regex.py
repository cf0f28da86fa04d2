"""Reads regular expressions, the part that Python, JavaScript and JSON Schema agree about, into expressions."""

from __future__ import annotations

import re

from llamafile.errors import LlamafileError

from .gbnf import COUNT_LIMIT, complement
from .network import CHARS, CHOICE, LAST, REPEAT, SEQUENCE

__all__ = ["complement", "expression", "read"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

SIZE_LIMIT = 1 << 13  # characters
DEPTH_LIMIT = 50

_DIGIT = ((48, 57),)
_WORD = ((48, 57), (65, 90), (95, 95), (97, 122))
_SPACE = ((9, 13), (32, 32))
_ALL_SPACE = ((9, 13), (28, 32), (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029),
              (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF))


def _not_ascii(ranges) -> tuple:
    """Return the ASCII characters that are in none of these; of others, languages differ in what they count as what."""
    return tuple((a, min(b, 0x7F)) for a, b in complement(ranges) if a < 0x80)


_CLASSES = {"d": _DIGIT, "w": _WORD, "s": _SPACE, "D": _not_ascii(_DIGIT), "W": _not_ascii(_WORD),
            "S": tuple(complement(_ALL_SPACE))}
_LINE_ENDS = ((10, 10), (13, 13), (0x2028, 0x2029))
_LETTERS = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13}
_COUNTS = re.compile(r"\{(\d+)(,?)(\d*)\}")
_GROUP = re.compile(r"\((?:\?(?::|P?<(?![=!])[^>]*>))?")
_FIRST, _LAST = ("first",), ("last",)  # ^ and $


def read(text: str) -> tuple:
    """Return the expression of the texts that match as a whole; raise LlamafileError for a wrong or unknown pattern."""
    try:
        return expression(text, lambda ranges: (CHARS, tuple(ranges)), True)
    except ValueError as wrong:
        raise LlamafileError(f"regex: {wrong}") from None


def expression(text: str, spell, whole: bool) -> tuple:
    """Return the expression of texts that match a pattern, or (not `whole`) in which it is found.

    `spell` makes an expression of ranges of code points. Raise ValueError, with the column, for what cannot be served.
    """
    if len(text) > SIZE_LIMIT:
        raise ValueError(f"has {len(text)} characters; at most {SIZE_LIMIT} are read")
    reader = _Reader(text, spell)
    ways = reader.ways()
    if reader.at < len(text):
        reader.fail("there is no parenthesis to close")
    around = (REPEAT, spell(((0, LAST),)), 0, None)
    return (CHOICE, tuple(_anchored(parts, None if whole else around) for parts in ways))


def _anchored(parts: list, around: tuple | None) -> tuple:
    """Return one alternative, with anything before and behind it where it is not anchored there."""
    parts = list(parts)
    while len(parts) == 1 and parts[0][0] == CHOICE and len(parts[0]) == 3:  # a group around the whole
        return (CHOICE, tuple(_anchored(inner, around) for inner in parts[0][2]))
    before = behind = around
    while parts and parts[0] == _FIRST:
        before, parts = None, parts[1:]
    while parts and parts[-1] == _LAST:
        behind, parts = None, parts[:-1]
    return (SEQUENCE, tuple(p for p in (before, *map(_plain, parts), behind) if p))


def _plain(part: tuple) -> tuple:
    """Return an expression in which no anchor is left; raise ValueError where one is."""
    if part in (_FIRST, _LAST):
        raise ValueError("^ and $ are known at the ends of the pattern only")
    if part[0] == CHOICE and len(part) == 3:
        return (CHOICE, tuple((SEQUENCE, tuple(map(_plain, way))) for way in part[2]))
    if part[0] == REPEAT:
        return (REPEAT, _plain(part[1]), *part[2:])
    return part


class _Reader:
    """A group is (CHOICE, None, its alternatives), each a list of parts, until _plain has looked for anchors in it."""

    def __init__(self, text: str, spell) -> None:
        self.text, self.spell = text, spell
        self.at = self.depth = 0

    def ways(self) -> list[list]:
        found = [self._sequence()]
        while self.text.startswith("|", self.at):
            self.at += 1
            found.append(self._sequence())
        return found

    def _sequence(self) -> list:
        parts: list = []
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            char = self.text[self.at]
            if char in "*+?" or (char == "{" and _COUNTS.match(self.text, self.at)):
                if not parts or parts[-1] in (_FIRST, _LAST):
                    self.fail(f"there is nothing before {char} to repeat")
                parts[-1] = self._repeated(parts[-1])
            else:
                parts.append(self._part(char))
        return parts

    def _part(self, char: str) -> tuple:
        if char == "(":
            return self._group()
        if char == "[":
            return self.spell(self._class())
        if char == "\\":
            return self.spell(self._escaped(False))
        self.at += 1
        if char in "^$":
            return _FIRST if char == "^" else _LAST
        return self.spell(complement(_LINE_ENDS) if char == "." else ((ord(char), ord(char)),))

    def _group(self) -> tuple:
        start = self.at
        match = _GROUP.match(self.text, start)
        if not match or (self.text.startswith("(?", start) and len(match[0]) == 1):
            self.fail("only plain groups are known: no looking around, no conditions, no flags")
        self.at = match.end()
        self.depth += 1
        if self.depth > DEPTH_LIMIT:
            self.fail(f"groups are nested more than {DEPTH_LIMIT} deep")
        ways = self.ways()
        if not self.text.startswith(")", self.at):
            self.fail("this group is not closed", start)
        self.at += 1
        self.depth -= 1
        return CHOICE, None, ways

    def _repeated(self, part: tuple) -> tuple:
        char = self.text[self.at]
        least, most = {"*": (0, None), "+": (1, None), "?": (0, 1), "{": (0, 0)}[char]
        if char == "{":
            match = _COUNTS.match(self.text, self.at)
            assert match  # as _sequence has seen
            least = int(match[1][:12])
            most = int(match[3][:12]) if match[3] else None if match[2] else least
            if max(least, most or 0) > COUNT_LIMIT or (most is not None and most < least):
                self.fail("the repetition asks for too much")
            self.at = match.end() - 1
        self.at += 1
        if self.text.startswith("?", self.at):  # lazy: the same texts match
            self.at += 1
        if self.text[self.at : self.at + 1] in ("*", "+"):
            self.fail("a repetition cannot be repeated")
        return REPEAT, part, least, most

    def _class(self) -> tuple:
        start = self.at
        self.at += 1
        negated = self.text.startswith("^", self.at)
        self.at += negated
        ranges: list[tuple[int, int]] = []
        while not self.text.startswith("]", self.at):
            first = self._class_part(start)
            single = len(first) == 1 and first[0][0] == first[0][1]
            if single and self.text.startswith("-", self.at) and not self.text.startswith("-]", self.at):
                self.at += 1
                last = self._class_part(start)
                if len(last) != 1 or last[0][1] < first[0][0]:
                    self.fail("this range ends before it begins")
                first = ((first[0][0], last[0][1]),)
            ranges += first
        self.at += 1
        if not ranges:
            self.fail("this class is empty", start)
        return tuple(complement(ranges) if negated else ranges)

    def _class_part(self, start: int) -> tuple:
        if self.at >= len(self.text):
            self.fail("this class is not closed", start)
        if self.text[self.at] == "\\":
            return self._escaped(True)
        self.at += 1
        return ((ord(self.text[self.at - 1]),) * 2,)

    def _escaped(self, in_class: bool) -> tuple:
        kind = self.text[self.at + 1 : self.at + 2]
        size = {"x": 2, "u": 4}.get(kind, 0)
        if kind in _CLASSES and kind:
            found = _CLASSES[kind]
        elif size:
            digits = self.text[self.at + 2 : self.at + 2 + size]
            if len(digits) < size or not all(c in "0123456789abcdefABCDEF" for c in digits):
                self.fail(f"\\{kind} needs {size} hexadecimal digits")
            found = ((int(digits, 16),) * 2,)
        elif kind in _LETTERS:
            found = ((_LETTERS[kind],) * 2,)
        elif kind == "b" and in_class:
            found = ((8, 8),)
        elif not kind or kind.isalnum():
            self.fail(f"\\{kind} is not known here")
        else:
            found = ((ord(kind),) * 2,)
        self.at += 2 + size
        return found

    def fail(self, what: str, where: int | None = None) -> NoReturn:
        """Raise ValueError with the column."""
        raise ValueError(f"column {(self.at if where is None else where) + 1}: {what}")
