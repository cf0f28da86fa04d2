"""Prompt lookup: the text's own past as a guess at what comes next, found by an index of its n-grams."""

from __future__ import annotations

from llamafile.speculation.trust import Trust

CANDIDATES = 8  # earlier places that are compared
LONGEST = 32  # tokens that are compared: more alike says nothing more
SURE = 12  # from this many on, no other place is looked for while the guesses come true
NEAR = 32  # tokens around the place of a difference in which a copy is taken up again


class Lookup:
    """A text as it grows, and the earlier place that it seems to be copied from: `source`, or -1, alike for `length`.

    Its `trust` learns from every token that comes, whether or not anybody computes the guesses ahead of it.
    """

    __slots__ = ("_index", "_lost", "_previous", "_size", "length", "source", "tokens", "trust")

    def __init__(self, size: int = 3) -> None:
        """`size` tokens that are the same make a place worth a look."""
        self._size = max(1, size)
        self.trust = Trust()
        self.restart()

    def restart(self) -> None:
        """Forget the text, but not how far such guesses can be trusted."""
        self.tokens: list[int] = []
        self._index: dict[tuple[int, ...], int] = {}  # n-gram → where it ended last
        self._previous: list[int] = []  # for each place, the one before it where the same n-gram ended
        self.source, self.length, self._lost = -1, 0, -1

    def follow(self, tokens: list[int]) -> None:
        """Bring the text up to `tokens`, the whole of it: what is new is learnt from, another text is begun anew."""
        known = len(self.tokens)
        if self.tokens != tokens[:known]:
            self.restart()
            known = 0
        self.extend(tokens[known:])

    def extend(self, tokens: list[int]) -> None:
        """Add tokens: single ones are learnt from, of many (a prompt's) only the last place is looked for."""
        if len(tokens) > 1:
            self._read(tokens[:-1])
        for token in tokens[-1:]:
            self._check(token)
            self._read((token,))
            self._look(token)

    def _read(self, tokens) -> None:
        """Append tokens and their n-grams; a place is the number of tokens before it."""
        text, size, index, previous = self.tokens, self._size, self._index, self._previous
        first = len(text)
        text += tokens
        for end in range(first + 1, len(text) + 1):
            if end < size:
                previous.append(-1)
                continue
            key = tuple(text[end - size : end])
            previous.append(index.get(key, -1))
            index[key] = end

    def _check(self, token: int) -> None:
        """Compare a token that has come with the one that was expected."""
        if self.source < 0:
            return
        hit = self.tokens[self.source] == token
        self.trust.learn(self.length, hit)
        if hit:
            self.source += 1
            self.length += 1
        else:
            self._lost, self.source, self.length = self.source, -1, 0

    def _look(self, token: int) -> None:
        """Choose the place to copy from, after a token was read."""
        if self.source >= 0 and self.length >= SURE:
            return
        found, length = self._longest()
        if length > self.length:
            self.source, self.length = found, length
        elif self.source < 0 and self._lost >= 0:
            self._take_up(token)

    def _longest(self) -> tuple[int, int]:
        """The earlier place before which the most tokens are as they are now, the latest of several; or (-1, 0)."""
        text, end = self.tokens, len(self.tokens)
        place, best, most = self._previous[end - 1], -1, 0
        for _ in range(CANDIDATES):
            if place < 0:
                break
            length, limit = self._size, min(LONGEST, place)
            while length < limit and text[place - length - 1] == text[end - length - 1]:
                length += 1
            if length > most:
                best, most = place, length
                if length == LONGEST:
                    break
            place = self._previous[place - 1]
        return best, most

    def _take_up(self, token: int) -> None:
        """A copy was left for something else: go on behind the first place near by that has the token just written."""
        end = min(self._lost + NEAR, len(self.tokens) - 1)
        near = self.tokens[self._lost : end]
        if token in near:
            self.source, self.length = self._lost + near.index(token) + 1, 1

    def guess(self, most: int) -> list[int]:
        """Return at most `most` tokens that would follow; where the copy reaches the end of the text it goes round."""
        if self.source < 0:
            return []
        found = self.tokens[self.source : self.source + most]
        round_ = len(self.tokens) - self.source
        while len(found) < most:
            found.append(found[len(found) - round_])
        return found

    def chances(self, count: int) -> list[float]:
        """Return how likely each of the next `count` guesses is right, given that those before it are."""
        return [self.trust.chance(self.length + i) for i in range(count)]
