"""Follows JSON as it comes, piece by piece, up to the end of a value."""

from __future__ import annotations

OPEN, SHUT = "{[", "}]"


class Scan:
    """Where one JSON object ends: `feed` returns the characters that belong to it; `done` when it is complete.

    `wrong` when what came cannot be JSON: a bracket of the wrong kind, or a word where there can be none.
    """

    def __init__(self) -> None:
        self.done = self.wrong = False
        self._open: list[str] = []
        self._in_string = self._escaped = False

    def feed(self, text: str) -> int:
        """Return how many characters of a text are the object's; fewer than all once it is done or wrong."""
        for place, char in enumerate(text):
            if self._in_string:
                self._string(char)
            elif not self._outside(char):
                self.wrong = True
                return place
            elif not self._open and char in SHUT:
                self.done = True
                return place + 1
        return len(text)

    def _string(self, char: str) -> None:
        if self._escaped:
            self._escaped = False
        elif char == "\\":
            self._escaped = True
        elif char == '"':
            self._in_string = False

    def _outside(self, char: str) -> bool:
        if char == '"':
            self._in_string = True
            return bool(self._open)
        if char in OPEN:
            self._open.append(SHUT[OPEN.index(char)])
            return True
        if char in SHUT:
            return bool(self._open) and self._open.pop() == char
        return char in " \t\r\n,:+-.0123456789eEtrufalsn" and (bool(self._open) or char.isspace())
