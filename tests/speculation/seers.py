"""Guessers that know the text to come, and err on purpose; and costs by which every guess is worth its while."""

from __future__ import annotations

import random
from typing import Any

from llamafile.speculation.pace import MOST_COLUMNS, Costs


class Free(Costs):
    """Every pass costs the same, so all guesses are taken along."""

    def __init__(self) -> None:
        super().__init__()
        self._shape = [1.0] * (MOST_COLUMNS + 1)
        self.measured, self._left = MOST_COLUMNS, 1

    def measure(self, columns: int, seconds: float, guesses: int = 0) -> None:
        pass


class Seer:
    """In the place of a Lookup: after `prompt` comes `future`, of which every `wrong`-th guess is another token."""

    source, length = 0, 1

    def __init__(self, prompt: list[int], future: list[int], wrong: float, vocabulary: int, seed: int) -> None:
        self.tokens = list(prompt)
        self._whole, self._wrong, self._vocabulary = [*prompt, *future], wrong, vocabulary
        self._chance = random.Random(seed)

    def extend(self, tokens: Any) -> None:
        self.tokens += tokens

    def guess(self, most: int) -> list[int]:
        at = len(self.tokens)
        known = self._whole[at : at + most]
        known += [self._chance.randrange(self._vocabulary) for _ in range(most - len(known))]
        return [self._chance.randrange(self._vocabulary) if self._chance.random() < self._wrong else token
                for token in known]

    @staticmethod
    def chances(count: int) -> list[float]:
        return [0.9] * count
