"""Expressions of JSON numbers: integers and decimals between bounds, digit by digit."""

from __future__ import annotations

from .network import CHARS, CHOICE, EMPTY, NEVER, REPEAT, SEQUENCE, TEXT

PLACES = 20  # decimals of a bound; bounds are whole numbers of units
UNIT = 10**PLACES
DIGITS = 16  # of an integer without a bound, and of a fraction
BOUNDED_DIGITS = 10  # of a fraction with bounds: so few that its double is on the same side of them

TYPE_CHECKING = False
if TYPE_CHECKING:
    # On decimals: digits without noughts behind, and whether the bound is excluded itself.
    Bound = tuple[str, bool] | None

DIGIT = (CHARS, ((48, 57),))
_MINUS = (TEXT, b"-")
_WHOLE = (CHOICE, ((TEXT, b"0"), (SEQUENCE, ((CHARS, ((49, 57),)), (REPEAT, DIGIT, 0, DIGITS - 1)))))
_FRACTION = (SEQUENCE, ((TEXT, b"."), (REPEAT, DIGIT, 1, DIGITS)))
_EXPONENT = (SEQUENCE, ((CHARS, ((69, 69), (101, 101))), (REPEAT, (CHARS, ((43, 43), (45, 45))), 0, 1),
                        (REPEAT, DIGIT, 1, 2)))

INTEGER = (SEQUENCE, ((REPEAT, _MINUS, 0, 1), _WHOLE))
NUMBER = (SEQUENCE, (INTEGER, (REPEAT, _FRACTION, 0, 1), (REPEAT, _EXPONENT, 0, 1)))


def units(value: float) -> int | None:
    """Return a number as so many units, exactly as its shortest text says; None where that has too many decimals."""
    mantissa, _, exponent = repr(value).partition("e")
    whole, _, fraction = mantissa.partition(".")
    shift = PLACES + int(exponent or 0) - len(fraction)
    if shift >= 0:
        return int(whole + fraction) * 10**shift
    found, rest = divmod(int(whole + fraction), 10 ** min(-shift, 400))
    return None if rest else found


def integer(low: int | None, high: int | None, above: bool, below: bool) -> tuple:
    """Return the integers from `low` to `high` units, either of which may be missing, or excluded by `above` and
    `below`.
    """
    if low is None and high is None:
        return INTEGER
    first = None if low is None else low // UNIT + 1 if above else -(-low // UNIT)
    last = None if high is None else -(-high // UNIT) - 1 if below else high // UNIT
    ways = []
    if first is None or first < 0:
        negative = natural(max(1, -last if last is not None else 1), None if first is None else -first)
        ways.append((SEQUENCE, (_MINUS, negative)))
    if last is None or last >= 0:
        ways.append(natural(max(0, first or 0), last))
    return (CHOICE, tuple(ways))


def natural(low: int, high: int | None) -> tuple:
    """Return the integers from low >= 0 to high; without one, to as many digits as are written."""
    if high is None:
        high = 10 ** max(DIGITS, len(str(low)) + 1) - 1
    ways = []
    for size in range(len(str(low)), len(str(high)) + 1):
        first, last = max(low, 10 ** (size - 1) if size > 1 else 0), min(high, 10**size - 1)
        if first <= last:
            ways.append(_between(str(first), str(last)))
    return (CHOICE, tuple(ways))


_SOME = {(low, high): (CHARS, ((48 + low, 48 + high),)) for low in range(10) for high in range(low, 10)}


def _digits(low: int, high: int) -> tuple:
    return _SOME.get((low, high), NEVER)


def _between(first: str, last: str) -> tuple:
    """Return the texts of digits from one to another of the same length."""
    if not first:
        return EMPTY
    if first.strip("0") == "" and last.strip("9") == "":
        return (REPEAT, DIGIT, len(first), len(first))
    a, b, rest = int(first[0]), int(last[0]), len(first) - 1
    if a == b:
        return (SEQUENCE, (_digits(a, a), _between(first[1:], last[1:])))
    ways = [(SEQUENCE, (_digits(a, a), _between(first[1:], "9" * rest))),
            (SEQUENCE, (_digits(b, b), _between("0" * rest, last[1:])))]
    if a + 1 < b:
        ways.append((SEQUENCE, (_digits(a + 1, b - 1), (REPEAT, DIGIT, rest, rest))))
    return (CHOICE, tuple(ways))


def decimal(low: int | None, high: int | None, above: bool, below: bool) -> tuple:
    """Return the numbers from `low` to `high` as decimals without an exponent; bounds as those of `integer`."""
    if low is None and high is None:
        return NUMBER
    places = _places(low, high)
    ways = []
    if low is None or low < 0:
        nearest = None if high is None or high >= 0 else -high  # minus nought is not written
        ways.append((SEQUENCE, (_MINUS, _positive(0 if nearest is None else nearest, None if low is None else -low,
                                                  nearest is None or below, above, places))))
    if high is None or high >= 0:
        inside = low is None or low < 0
        ways.append(_positive(max(0, low or 0), high, above and not inside, below, places))
    return (CHOICE, tuple(ways))


def _places(low: int | None, high: int | None) -> int:
    """Return how many decimals to write: at least those of the bounds, at most what a double tells apart."""
    given = [bound for bound in (low, high) if bound is not None]
    own = max(len(_parts(abs(bound))[1]) for bound in given)
    whole = max(len(str(_parts(abs(bound))[0])) for bound in given)
    return max(own + 1, min(BOUNDED_DIGITS, 15 - whole), 1)


def _parts(value: int) -> tuple[int, str]:
    """Return the whole part and the decimals without noughts behind."""
    whole, fraction = divmod(value, UNIT)
    return whole, f"{fraction:0{PLACES}}".rstrip("0")


def _positive(low: int, high: int | None, above: bool, below: bool, places: int) -> tuple:
    """Return the decimals from low >= 0 to high, bounds excluded by `above` and `below`."""
    if high is not None and (high < low or (high == low and (above or below))):
        return NEVER
    whole, fraction = _parts(low)
    over = (fraction, above) if fraction or above else None
    ways: list[tuple[int, int | None, Bound, Bound]]
    if high is None:
        ways = [(whole, whole, over, None), (whole + 1, None, None, None)]
    else:
        last, last_fraction = _parts(high)
        under = (last_fraction, below)
        ways = [(whole, whole, over, None), (whole + 1, last - 1, None, None), (last, last, None, under)]
        if last == whole:
            ways = [(whole, whole, over, under)]
    return (CHOICE, tuple((SEQUENCE, (natural(a, b), _fraction(from_, to, places))) for a, b, from_, to in ways))


def _fraction(low: Bound, high: Bound, places: int) -> tuple:
    """Return what may stand behind a whole number: nothing, or a point and decimals, between bounds."""
    some = (SEQUENCE, ((TEXT, b"."), _decimals(low, high, places, True)))
    return (CHOICE, (EMPTY, some)) if low is None and high != ("", True) else some


def _decimals(low: Bound, high: Bound, places: int, more: bool) -> tuple:
    """Return the decimals of at most `places` between bounds; `more` says that a digit must come."""
    if high == ("", True):
        return NEVER
    if low == ("", False):
        low = None
    may_end = not more and low is None
    if not places:
        return EMPTY if may_end else NEVER
    if low is None and high is None:
        return (REPEAT, DIGIT, int(more), places)
    ways: dict[tuple, list[int]] = {}  # what bounds the digits behind: the digits
    for digit in range(10):
        if (low is None or digit >= _first(low)) and (high is None or digit <= _first(high)):
            ways.setdefault((_behind(low, digit), _behind(high, digit)), []).append(digit)
    parts = [(SEQUENCE, (_digits(digits[0], digits[-1]), _decimals(bounds[0], bounds[1], places - 1, False)))
             for bounds, digits in ways.items()]
    return (CHOICE, (*parts, EMPTY) if may_end else tuple(parts))


def _first(bound: tuple[str, bool]) -> int:
    return int(bound[0][:1] or 0)


def _behind(bound: Bound, digit: int) -> Bound:
    """Return what a bound asks of the digits behind this one."""
    if bound is None or digit != _first(bound):
        return None
    return bound[0][1:], bound[1]
