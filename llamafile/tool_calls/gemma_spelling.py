"""How Gemma's models write arguments: names bare, texts between marks of their own and with nothing escaped."""

from __future__ import annotations

from llamafile.grammar import regex
from llamafile.grammar.network import CHARS, LAST, REPEAT, SEQUENCE, TEXT, TOKENS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_NAME = (CHARS, ((45, 46), (48, 57), (65, 90), (95, 95), (97, 122)))
NAME_LIMIT = 64


class Spelling:
    """For grammar.schema.read; `quote` stands around texts, and is the control token `id` where that is not None."""

    def __init__(self, quote: str, id: int | None) -> None:
        self._mark: tuple = (TEXT, quote.encode()) if id is None else (TOKENS, (id,), False)
        # A control token is in no text; a mark of letters cannot begin where its first one may not stand.
        self._free = ((0, LAST),) if id is not None else tuple(regex.complement([(ord(quote[0]), ord(quote[0]))]))

    def literal(self, text: str) -> tuple:
        """Return a text."""
        return (SEQUENCE, (self._mark, (TEXT, text.encode("utf-8", "replace")), self._mark))

    def of_length(self, least: int, most: int | None) -> tuple:
        """Return the texts of so many characters."""
        return (SEQUENCE, (self._mark, (REPEAT, (CHARS, self._free), least, most), self._mark))

    def matching(self, pattern: str, whole: bool = False) -> tuple:
        """Return the texts in which a pattern is found, or that match it as a whole."""
        return (SEQUENCE, (self._mark, regex.expression(pattern, self._spelled, whole), self._mark))

    def _spelled(self, ranges: Iterable[tuple[int, int]]) -> tuple:
        return (CHARS, tuple((max(first, low), min(last, high)) for first, last in ranges for low, high in self._free
                             if max(first, low) <= min(last, high)))

    def name(self, text: str) -> tuple:
        """Return the name of a member."""
        return (TEXT, text.encode())

    def any_name(self) -> tuple:
        """Return the names that a member may have."""
        return (REPEAT, _NAME, 1, NAME_LIMIT)

    def other_name(self, names: Iterable[str]) -> tuple:
        """Return names that are none of these: longer ones than they."""
        return (REPEAT, _NAME, max(map(len, names), default=0) + 1, None)
