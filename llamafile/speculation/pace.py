"""The pace: how many guessed tokens a pass takes along, by what passes of so many columns were measured to cost."""

from __future__ import annotations

MOST_COLUMNS = 64  # beyond them the curve is taken to go on straight
SLOPE = 0.08  # of one column's cost, for each further one: believed until it is measured
GROWTH = 2  # a pass of more than so many times the most columns measured is not tried yet
WORTH = 1.02  # gains below this are noise
DRIFT, BEND = 0.25, 0.1  # how fast the common speed, and the curve's shape, follow a new measurement
FORGET = 0.995  # what is left, after a pass that took no guesses along for their cost, of what was found too dear
PLAIN, LONGEST = 2, 128  # so many passes without guesses show what they cost, before the first of so many with them
SETTLED = 10  # measurements after which a point bends no faster, and takes its neighbours along only now and then


class Costs:
    """Seconds of a pass by its columns: a common speed, which moves with the machine and the context, times a shape."""

    __slots__ = ("_counts", "_hope", "_left", "_plain", "_shape", "_speed", "measured")

    def __init__(self) -> None:
        self._speed = 0.0
        self._shape = [1.0 + SLOPE * (k - 1) for k in range(MOST_COLUMNS + 1)]
        self._counts = [0] * (MOST_COLUMNS + 1)  # measurements of each point
        self._hope = 0.0  # how far what was found too dear is doubted, from 0 to 1
        self._left, self._plain = 0, 0  # passes with guesses until some without are due; those made of them
        self.measured = 0  # the most columns of a pass that was

    def measure(self, columns: int, seconds: float, guesses: int = 0) -> None:
        """Learn from a pass with so many guesses among its columns; outliers count for little."""
        if not 0 < columns <= MOST_COLUMNS or seconds <= 0:
            return
        if not self._speed:
            self._speed = seconds / self._shape[columns]
        if guesses:
            self._hope = 0.0
            self._left -= 1
        elif self._left <= 0:
            self._plain += 1
            if self._plain >= PLAIN:
                self._plain, self._left = 0, LONGEST
        known = self._counts[columns]
        if known:
            ratio = min(2.0, max(0.5, seconds / (self._speed * self._shape[columns])))
            self._speed *= 1 + DRIFT * (ratio - 1)
            self._shape[columns] *= 1 + max(BEND, 1 / (known + 1)) * (ratio - 1)
        else:
            self._shape[columns] = self._first(columns, seconds / self._speed)
            self.measured = max(self.measured, columns)
        self._counts[columns] += 1
        if known < SETTLED or not known % SETTLED:
            self._draw()

    def _first(self, columns: int, cost: float) -> float:
        """One bad moment must not end all: no point is first believed to cost more than its columns one by one."""
        below = max((k for k in range(1, columns) if self._counts[k]), default=0)
        return min(cost, self._shape[below] * columns / below) if below else cost

    def _draw(self) -> None:
        """Draw the curve through the points that were measured, and straight on behind them."""
        points = [k for k in range(1, MOST_COLUMNS + 1) if self._counts[k]]
        shape = self._shape
        for i, low in enumerate(points[:-1]):
            high = points[i + 1]
            step = (shape[high] - shape[low]) / (high - low)
            for k in range(low + 1, high):
                shape[k] = shape[low] + step * (k - low)
        last = points[-1]
        slope = SLOPE * shape[last]
        if len(points) > 1:
            slope = max(0.0, (shape[last] - shape[points[0]]) / (last - points[0]))
        for k in range(last + 1, MOST_COLUMNS + 1):
            shape[k] = shape[last] + slope * (k - last)

    def seconds(self, columns: int) -> float:
        """Return what a pass of so many columns is believed to take; before anything is measured, in passes of one."""
        if columns <= MOST_COLUMNS:
            return (self._speed or 1.0) * self._shape[columns]
        return (self._speed or 1.0) * self._shape[MOST_COLUMNS] * columns / MOST_COLUMNS

    @property
    def plain_due(self) -> bool:
        """Whether it is time to see what a pass without guesses costs."""
        return self._left <= 0

    def hoped(self, base: int, further: int) -> float:
        """Return what the pass takes with guesses beside `base` columns, if what was found too dear is doubted."""
        cost, first = self.seconds(base + further), self.seconds(base)
        best = first * (1 + SLOPE * further)
        return cost if cost <= best else cost + (best - cost) * self._hope

    def forgive(self) -> None:
        """Guesses were not worth it: what makes them dear may be over one day, and is tried then."""
        self._hope = 1 - (1 - self._hope) * FORGET

    def beside(self, base: int) -> Beside:
        """The costs of guesses in a pass that computes `base` columns anyway."""
        return Beside(self, base)


class Beside:
    """What guesses cost in a pass that computes `base` columns anyway."""

    __slots__ = ("_base", "_costs")

    def __init__(self, costs: Costs, base: int) -> None:
        self._costs, self._base = costs, base

    def seconds(self, further: int) -> float:
        """Return what the pass takes with so many guesses."""
        return self._costs.hoped(self._base, further)

    def most(self) -> int:
        """Return how many guesses may be tried: a pass far beyond all that was measured could cost far too much."""
        if self._costs.plain_due:
            return 0
        return max(GROWTH * max(self._costs.measured, self._base), self._base + 1) - self._base

    def forgive(self) -> None:
        """Guesses were not worth it."""
        self._costs.forgive()


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
