"""The table and the CSV: one row a number, with what limits it and what a peer reached."""

from __future__ import annotations

import csv
import statistics
import sys
from typing import NamedTuple

COLUMNS = ("section", "what", "measure", "value", "unit", "share", "of", "peer", "ratio")
WIDTHS = (9, 44, 26, 10, 6, 6, 26, 10, 6)


class Row(NamedTuple):
    """One number: `share` of the limit that `of` names, `ratio` to what `peer` reached; None where there is none."""

    section: str
    what: str
    measure: str
    value: float
    unit: str
    share: float | None = None
    of: str = ""
    peer: float | None = None
    ratio: float | None = None


class Report:
    """Rows in order; each is printed as it comes, so that a long run can be watched."""

    def __init__(self, out=None):
        self.rows: list[Row] = []
        self.out = out if out is not None else sys.stdout

    def head(self):
        """Print the names of the columns."""
        self._line(COLUMNS)

    def note(self, text):
        """Print a line that is no number: what was left out, and why."""
        print(f"# {text}", file=self.out, flush=True)

    def add(self, section, what, measure, value, unit, **more):
        """Append a row and print it; `more` are the columns that not every row has."""
        row = Row(section, what, measure, value, unit, **more)
        self.rows.append(row)
        share = "" if row.share is None else f"{100 * row.share:.0f} %"
        cells = (row.section, row.what, row.measure, number(row.value), row.unit, share, row.of,
                 "" if row.peer is None else number(row.peer), "" if row.ratio is None else f"{row.ratio:.2f}")
        self._line(cells)
        return row

    def _line(self, cells):
        right = {3, 5, 7, 8}
        text = "  ".join(c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(cells, WIDTHS)))
        print(text.rstrip(), file=self.out, flush=True)

    def write(self, path):
        """Write all rows as CSV."""
        with open(path, "w", newline="") as file:
            table = csv.writer(file)
            table.writerow(COLUMNS)
            table.writerows(["" if cell is None else cell for cell in row] for row in self.rows)


def number(value):
    """A value in four digits, or in all where it is larger."""
    if value == 0 or abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.4g}" if abs(value) < 1 else f"{value:.{max(0, 3 - len(str(int(abs(value)))))}f}"


def rounds(count, *functions):
    """Call the functions in turn, `count` times; returns for each the list of what it returned."""
    results: list[list] = [[] for _ in functions]
    for _ in range(count):
        for result, function in zip(results, functions):
            result.append(function())
    return results


def ratio(a, b):
    """The median of the ratios of two functions' results round by round: what drifts with the machine cancels out."""
    return statistics.median(x / y for x, y in zip(a, b))
