"""The text of an answer as it comes, and readers that wait where it does not yet say enough."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    # Runs until it needs more text than has come.
    Steps = Generator[None, None, Any]


class Incoming:
    """Text up to where it has come; `at` is how far it was read, `ended` that no more comes.

    Readers are generators: each returns once it knows, and yields where the text ends before that.
    """

    def __init__(self, text: str = "") -> None:
        self.text, self.at, self.ended = text, 0, False

    def taken(self, count: int) -> str:
        """Step over so many characters and return them."""
        text = self.text[self.at : self.at + count]
        self.at += len(text)
        return text

    def known_upto(self, mark: str) -> int:
        """Return the place where a mark stands or may yet come to stand, or the text's end."""
        found = self.text.find(mark, self.at)
        if found >= 0:
            return found
        if not self.ended:
            for size in range(min(len(mark) - 1, len(self.text) - self.at), 0, -1):
                if self.text.endswith(mark[:size]):
                    return len(self.text) - size
        return len(self.text)

    def at_end(self) -> Steps:
        """Return whether nothing more comes."""
        while self.at >= len(self.text) and not self.ended:
            yield
        return self.at >= len(self.text)

    def sees(self, word: str) -> Steps:
        """Return whether a word stands here."""
        while not self.ended and len(self.text) - self.at < len(word) and word.startswith(self.text[self.at :]):
            yield
        return self.text.startswith(word, self.at)

    def over(self, word: str) -> Steps:
        """Step over a word; return whether it stood here."""
        found = yield from self.sees(word)
        if found:
            self.at += len(word)
        return found

    def blank(self) -> Steps:
        """Step over white space; return how much."""
        start = self.at
        while True:
            while self.at < len(self.text) and self.text[self.at].isspace():
                self.at += 1
            if self.at < len(self.text) or self.ended:
                return self.at - start
            yield

    def words(self, text: str) -> Steps:
        """Step over a text of a format, in which white space is free; return whether it stood here."""
        start = self.at
        for number, word in enumerate(text.split(" ")):
            if number:
                yield from self.blank()
            if word and not (yield from self.over(word)):
                self.at = start
                return False
        return True

    def tried(self, way: Callable[[], Steps]) -> Steps:
        """Read something; where it is not there, go back to before it and return False."""
        start = self.at
        found = yield from way()
        if not found:
            self.at = start
        return found
