"""The pace: how many guessed tokens a pass takes along, by what passes of so many columns were measured to cost."""

from __future__ import annotations

MOST_COLUMNS = 64  # beyond them the curve is taken to go on straight
SLOPE = 0.08  # of one column's cost, for each further one: believed until it is measured
GROWTH = 2  # a pass of more than so many times the most columns measured is not tried yet
WORTH = 1.02  # gains below this are noise
DRIFT, BEND = 0.25, 0.1  # how fast the common speed, and the curve's shape, follow a new measurement
FORGET = 0.995  # with each pass that took no guesses along for their cost, the curve's dear points come down so much


class Costs:
    """Seconds of a pass by its columns: a common speed, which moves with the machine and the context, times a shape."""

    __slots__ = ("_known", "_shape", "_speed", "measured")

    def __init__(self) -> None:
        self._speed = 0.0
        self._shape = [1.0 + SLOPE * (k - 1) for k in range(MOST_COLUMNS + 1)]
        self._known = [False] * (MOST_COLUMNS + 1)
        self.measured = 0  # the most columns of a pass that was

    def measure(self, columns: int, seconds: float) -> None:
        """Learn from a pass; outliers count for little."""
        if not 0 < columns <= MOST_COLUMNS or seconds <= 0:
            return
        if not self._speed:
            self._speed = seconds / self._shape[columns]
        if not self._known[columns]:
            self._first(columns, seconds / self._speed)
            return
        ratio = min(2.0, max(0.5, seconds / (self._speed * self._shape[columns])))
        self._speed *= 1 + DRIFT * (ratio - 1)
        self._shape[columns] *= 1 + BEND * (ratio - 1)

    def _first(self, columns: int, cost: float) -> None:
        """A point's first measurement also moves the points around it that are only believed."""
        below = max((k for k in range(1, columns) if self._known[k]), default=0)
        above = min((k for k in range(columns + 1, MOST_COLUMNS + 1) if self._known[k]), default=0)
        # One bad moment must not end all: no point is first believed to cost more than its columns one by one.
        cost = min(cost, self._shape[below or 1] * columns / (below or 1))
        self._shape[columns], self._known[columns] = cost, True
        self.measured = max(self.measured, columns)
        for k in range(below + 1, columns) if below else ():
            self._shape[k] = self._between(below, columns, k)
        for k in range(columns + 1, above or MOST_COLUMNS + 1):
            if above:
                self._shape[k] = self._between(columns, above, k)
            else:
                slope = (cost - self._shape[below]) / (columns - below) if below else SLOPE * cost / columns
                self._shape[k] = cost + max(slope, 0.0) * (k - columns)

    def _between(self, low: int, high: int, k: int) -> float:
        share = (k - low) / (high - low)
        return self._shape[low] * (1 - share) + self._shape[high] * share

    def seconds(self, columns: int) -> float:
        """Return what a pass of so many columns is believed to take; before anything is measured, in passes of one."""
        if columns <= MOST_COLUMNS:
            return (self._speed or 1.0) * self._shape[columns]
        return (self._speed or 1.0) * self._shape[MOST_COLUMNS] * columns / MOST_COLUMNS

    def beside(self, base: int) -> Beside:
        """The costs of guesses in a pass that computes `base` columns anyway."""
        return Beside(self, base)

    def forgive(self, base: int) -> None:
        """Let what was found too dear come down slowly to what was hoped, to be tried anew."""
        first = self._shape[min(base, MOST_COLUMNS)]
        for k in range(base + 1, min(base + 8, MOST_COLUMNS) + 1):
            hoped = first * (1 + SLOPE * (k - base))
            if self._shape[k] > hoped:
                self._shape[k] = hoped + (self._shape[k] - hoped) * FORGET


class Beside:
    """What guesses cost in a pass that computes `base` columns anyway."""

    __slots__ = ("_base", "_costs")

    def __init__(self, costs: Costs, base: int) -> None:
        self._costs, self._base = costs, base

    def seconds(self, further: int) -> float:
        """Return what the pass takes with so many guesses."""
        return self._costs.seconds(self._base + further)

    def most(self) -> int:
        """Return how many guesses may be tried: a pass far beyond all that was measured could cost far too much."""
        return max(GROWTH * max(self._costs.measured, self._base), self._base + 1) - self._base

    def forgive(self) -> None:
        """Guesses were not worth it: what makes them dear may be over one day."""
        self._costs.forgive(self._base)


class Straight:
    """Costs of a pass whose `rows` read a prompt too: each further one costs the same."""

    __slots__ = ("_rows",)

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def seconds(self, further: int) -> float:
        """Return the cost in rows, of all and so many guesses."""
        return float(self._rows + further)

    def most(self) -> int:
        """There is no bound of its own."""
        return MOST_COLUMNS

    def forgive(self) -> None:
        """Nothing is believed that could be wrong."""


def share_out(chances: list[list[float]], sure: int, budget: int, costs: Beside | Straight) -> list[int]:
    """Return how many guesses of each text to take along: what makes the most tokens in a second.

    chances[i][j] is how likely text i's guess j is right, given those before it are; `sure` tokens come of the pass
    without any; at most `budget` guesses in all.
    """
    ranked = []
    for i, list_ in enumerate(chances):
        whole = 1.0
        for chance in list_:
            whole *= chance
            ranked.append((whole, i))
    ranked.sort(key=_first, reverse=True)  # stable: a text's guesses stay in order
    limit = min(budget, costs.most(), len(ranked))
    expected, best, taken = float(sure), WORTH * sure / costs.seconds(0), 0
    for k in range(limit):
        expected += ranked[k][0]
        rate = expected / costs.seconds(k + 1)
        if rate > best:
            best, taken = rate, k + 1
    counts = [0] * len(chances)
    for _, i in ranked[:taken]:
        counts[i] += 1
    return counts


def _first(pair: tuple[float, int]) -> float:
    return pair[0]
