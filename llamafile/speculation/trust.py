"""How far guesses can be trusted: their rate of coming true, for each strength that a guess can have, as it changes."""

from __future__ import annotations

# What is believed before anything was seen, by the number of tokens alike before the guess, up to 32.
STEPS = (1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32)
FIRST = (0.3, 0.4, 0.4, 0.5, 0.6, 0.65, 0.7, 0.8, 0.85, 0.9, 0.95)
_STEP_OF = [max(i for i, least in enumerate(STEPS) if least <= max(length, 1)) for length in range(STEPS[-1] + 1)]
WEIGHT = 3.0  # what is believed beforehand counts as so many guesses
UNSEEN = 0.7  # of any strength, before anything was seen
FADING = 0.95  # a guess counts so much less with each one after it


class Trust:
    """Counts of guesses that came true, by strength; old ones fade."""

    __slots__ = ("_came_true", "_first", "_guesses", "_step_of")

    def __init__(self, first=FIRST, step_of=_STEP_OF) -> None:
        """`first` is believed of each step beforehand; step_of[strength] is the step that a strength belongs to."""
        self._first, self._step_of = first, step_of
        self._came_true = [0.0] * len(first)
        self._guesses = [0.0] * len(first)

    def learn(self, strength: int, hit: bool) -> None:
        """Count a guess of that strength."""
        step = self._step_of[min(strength, len(self._step_of) - 1)]
        self._came_true[step] = FADING * self._came_true[step] + hit
        self._guesses[step] = FADING * self._guesses[step] + 1.0

    @property
    def overall(self) -> float:
        """Return how likely a guess of any strength comes true, by what was seen."""
        return (sum(self._came_true) + WEIGHT * UNSEEN) / (sum(self._guesses) + WEIGHT)

    def chance(self, strength: int) -> float:
        """Return how likely a guess of that strength comes true."""
        step = self._step_of[min(strength, len(self._step_of) - 1)]
        return (self._came_true[step] + WEIGHT * self._first[step]) / (self._guesses[step] + WEIGHT)
