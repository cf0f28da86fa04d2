"""Numbers between bounds: the texts of just those, by arithmetic of the standard library."""

from __future__ import annotations

import random
import re
from decimal import Decimal

from llamafile.grammar.numbers import UNIT, decimal, integer, units


def pattern(expression):
    """An expression of characters as a regular expression of Python's."""
    kind, *rest = expression
    if kind == "text":
        return re.escape(rest[0].decode())
    if kind == "chars":
        return "[" + "".join(f"{re.escape(chr(a))}-{re.escape(chr(b))}" for a, b in rest[0]) + "]"
    if kind == "sequence":
        return "".join(map(pattern, rest[0]))
    if kind == "choice":
        return "(?:" + "|".join(map(pattern, rest[0])) + ")" if rest[0] else "(?!)"
    return f"(?:{pattern(rest[0])}){{{rest[1]},{'' if rest[2] is None else rest[2]}}}"


def bounds(chance, places):
    low, high = (
        chance.choice([None, Decimal(chance.randint(-2000, 2000)).scaleb(-chance.randint(0, places))]) for _ in "ab"
    )
    if low is not None and high is not None and low > high:
        low, high = high, low
    return low, high, chance.random() < 0.5, chance.random() < 0.5


def inside(n, low, high, above, below):
    return (low is None or (n > low if above else n >= low)) and (high is None or (n < high if below else n <= high))


def scaled(value):
    return None if value is None else int(value * UNIT)


def test_integers():
    chance = random.Random(5)
    for _ in range(250):
        low, high, *open_ends = bounds(chance, 2)
        made = re.compile(pattern(integer(scaled(low), scaled(high), *open_ends)))
        near = [int(b) + d for b in (low or 0, high or 0) for d in (-1, 0, 1)]
        for n in [*near, *(chance.randint(-2100, 2100) for _ in range(20))]:
            assert bool(made.fullmatch(str(n))) is inside(n, low, high, *open_ends), (low, high, open_ends, n)
        assert not made.fullmatch("01") and not made.fullmatch("") and not made.fullmatch("1.0")


def test_decimals():
    chance = random.Random(6)
    for _ in range(250):
        low, high, *open_ends = bounds(chance, 3)
        if low is None and high is None:
            continue
        made = re.compile(pattern(decimal(scaled(low), scaled(high), *open_ends)))
        near = [(b or Decimal(0)) + Decimal(d).scaleb(-3) for b in (low, high) for d in (-2, -1, 0, 1, 2)]
        for n in [*near, *(Decimal(chance.randint(-2100, 2100)).scaleb(-chance.randint(0, 4)) for _ in range(20))]:
            text = format(n, "f")
            if n or not text.startswith("-"):
                assert bool(made.fullmatch(text)) is inside(n, low, high, *open_ends), (low, high, open_ends, text)
        assert not made.fullmatch("1.") and not made.fullmatch(".5") and not made.fullmatch("00")


def test_units_are_exact():
    chance = random.Random(7)
    for value in [*(chance.uniform(-1e6, 1e6) for _ in range(500)), 1e-7, 1.5e10, 0, -3, 1e14, 2.5e-20]:
        found = units(value)
        assert found is None or Decimal(found) / UNIT == Decimal(repr(value))
    assert units(1e-21) is None and units(5e-324) is None and units(0.1) == UNIT // 10
