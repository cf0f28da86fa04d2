"""A text that is being written, with what is guessed about it and how far such guesses can be trusted."""

from __future__ import annotations

from llamafile.speculation.lookup import Lookup
from llamafile.speculation.trust import Trust

# A draft model's own probability, in tenths, as a strength: believed at first.
TENTHS = tuple((i + 0.5) / 10 for i in range(10))


class Text:
    """`lookup` holds its tokens; `seat` is its place in the draft model; `trust` is in that model's guesses."""

    __slots__ = ("_drafted", "lookup", "patience", "seat", "trust", "waits")

    def __init__(self, size: int, seat: int = 0) -> None:
        self.lookup, self.seat = Lookup(size), seat
        self.trust = Trust(TENTHS, tuple(range(10)))
        self._drafted: list[tuple[int, int]] = []  # (token, strength): what the draft model thinks comes next
        self.patience = self.waits = 0  # tokens for which it is not asked, the next time and now

    @property
    def tokens(self) -> list[int]:
        """All tokens so far."""
        return self.lookup.tokens

    def follow(self, tokens: list[int]) -> None:
        """Become another text, or this one with more behind it."""
        self._drafted = []
        self.lookup.follow(tokens)

    def extend(self, tokens: list[int]) -> None:
        """Add tokens that came, and learn from them."""
        for token in tokens if self._drafted else ():
            if not self._drafted:
                break
            expected, strength = self._drafted.pop(0)
            self.trust.learn(strength, expected == token)
            if expected != token:
                self._drafted = []
        self.waits = max(0, self.waits - len(tokens))
        self.lookup.extend(tokens)

    def drafted(self, ids: list[int], strengths: list[int]) -> list[float]:
        """Note what the draft model guesses; returns how likely each token is, given those before it."""
        self._drafted = list(zip(ids, strengths))
        return [self.trust.chance(strength) for strength in strengths]
