"""Expressions of JSON strings: characters as JSON spells them, lengths, names that are taken, formats."""

from __future__ import annotations

import json

from . import regex
from .network import CHARS, CHOICE, EMPTY, LAST, REPEAT, SEQUENCE, TEXT

QUOTE = (TEXT, b'"')
_RAW = ((0x20, 0x21), (0x23, 0x5B), (0x5D, LAST))  # characters that stand for themselves
_SHORT = '"\\\b\f\n\r\t'  # what json.dumps writes as a backslash and one character


def _hex(*sets: str) -> tuple:
    return (SEQUENCE, tuple((CHARS, tuple((ord(c), ord(c)) for c in s)) for s in sets))


_ANY, _HIGH = "0123456789abcdefABCDEF", "0123456789abcABCefEF"
# Halves of a pair of surrogates come together or not at all: alone they are no character.
_CODES = (CHOICE, (
    _hex(_HIGH, _ANY, _ANY, _ANY), _hex("dD", "01234567", _ANY, _ANY),
    (SEQUENCE, (_hex("dD", "89abAB", _ANY, _ANY), (TEXT, b"\\u"), _hex("dD", "cdefCDEF", _ANY, _ANY)))))
_AFTER_BACKSLASH = (CHOICE, ((CHARS, tuple((ord(c), ord(c)) for c in '"\\/bfnrt')),
                             (SEQUENCE, ((TEXT, b"u"), _CODES))))
CHARACTER = (CHOICE, ((CHARS, _RAW), (SEQUENCE, ((TEXT, b"\\"), _AFTER_BACKSLASH))))


def spelled(ranges) -> tuple:
    """Return the expression of one character of these ranges as json.dumps spells it in a string."""
    raw, escaped = [], []
    for first, last in ranges:
        for low, high in _RAW:
            if max(first, low) <= min(last, high):
                raw.append((max(first, low), min(last, high)))
        escaped += [_escape(code) for code in range(first, min(last, 0x1F) + 1)]
        escaped += [_escape(code) for code in (0x22, 0x5C) if first <= code <= last]
    return (CHOICE, ((CHARS, tuple(raw)), *escaped)) if escaped else (CHARS, tuple(raw))


def _escape(code: int) -> tuple:
    return (TEXT, json.dumps(chr(code))[1:-1].encode())


def literal(text: str) -> tuple:
    """Return a string as JSON has it, with its characters beyond ASCII as they are or all as escapes."""
    plain = (TEXT, json.dumps(text, ensure_ascii=False).encode("utf-8", "backslashreplace"))
    return plain if text.isascii() else (CHOICE, (plain, (TEXT, json.dumps(text).encode())))


def of_length(least: int, most: int | None) -> tuple:
    """Return the strings of so many characters."""
    return (SEQUENCE, (QUOTE, (REPEAT, CHARACTER, least, most), QUOTE))


def matching(pattern: str, whole: bool = False) -> tuple:
    """Return the strings in which a pattern is found, or that match it as a whole; raise ValueError for a bad one."""
    return (SEQUENCE, (QUOTE, regex.expression(pattern, spelled, whole), QUOTE))


# How names are written that a schema does not list: each in one way only, so that none is a listed one in disguise.
_UNITS = (CHOICE, ((CHARS, _RAW), *(_escape(ord(c)) for c in _SHORT)))


def name(text: str) -> tuple:
    """Return the name of a member, which in JSON is a string."""
    return literal(text)


def any_name() -> tuple:
    """Return the names that a member may have."""
    return of_length(0, None)


def other_name(names) -> tuple:
    """Return the names that are none of these."""
    tree: dict = {}
    for each in names:
        at = tree
        for unit in each:
            at = at.setdefault(unit, {})
        at[None] = None
    return (SEQUENCE, (QUOTE, _none_of(tree), QUOTE))


def _none_of(tree: dict) -> tuple:
    """Return what may follow the beginning that names in a tree have in common, and be none of them."""
    taken = [c for c in tree if c is not None]
    if not taken:
        return (SEQUENCE, (_UNITS, (REPEAT, _UNITS, 0, None)))
    codes = sorted(map(ord, taken))
    gaps = regex.complement([(code, code) for code in codes])
    free = [(max(a, low), min(b, high)) for a, b in gaps for low, high in _RAW if max(a, low) <= min(b, high)]
    first = (CHOICE, ((CHARS, tuple(free)), *(_escape(ord(c)) for c in _SHORT if c not in tree)))
    ways = [(SEQUENCE, (first, (REPEAT, _UNITS, 0, None)))]
    ways += [(SEQUENCE, (spelled(((ord(c), ord(c)),)), _none_of(tree[c]))) for c in taken]
    return (CHOICE, (*ways, *([] if None in tree else [EMPTY])))


_MONTHS = (r"(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|"
           r"02-(?:0[1-9]|1\d|2[0-8]))")
_LEAP = r"(?:\d\d(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
_YEAR = r"(?:000[1-9]|00[1-9]\d|0[1-9]\d\d|[1-9]\d\d\d)"
_DATE = rf"(?:{_YEAR}-{_MONTHS}|{_LEAP}-02-29)"
_TIME = r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)"
_BYTE = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_GROUP = "[0-9a-fA-F]{1,4}"
_HOST = rf"{_LABEL}(?:\.{_LABEL}){{0,3}}"
FORMATS = {
    "date": _DATE,
    "time": _TIME,
    "date-time": rf"{_DATE}T{_TIME}",
    "duration": r"P(?:\d{1,6}W|(?:\d{1,6}Y(?:\d{1,6}M(?:\d{1,6}D)?)?|\d{1,6}M(?:\d{1,6}D)?|\d{1,6}D)"
                r"(?:T(?:\d{1,6}H(?:\d{1,6}M(?:\d{1,6}S)?)?|\d{1,6}M(?:\d{1,6}S)?|\d{1,6}S))?|"
                r"T(?:\d{1,6}H(?:\d{1,6}M(?:\d{1,6}S)?)?|\d{1,6}M(?:\d{1,6}S)?|\d{1,6}S))",
    "email": rf"[A-Za-z0-9_+-]{{1,32}}(?:\.[A-Za-z0-9_+-]{{1,32}}){{0,3}}@{_LABEL}(?:\.{_LABEL}){{1,3}}",
    "hostname": _HOST,
    "ipv4": rf"(?:{_BYTE}\.){{3}}{_BYTE}",
    "ipv6": "|".join([rf"(?:{_GROUP}:){{7}}{_GROUP}", rf"(?:{_GROUP}:){{1,7}}:", rf":(?::{_GROUP}){{1,7}}", "::",
                      *(rf"(?:{_GROUP}:){{1,{n}}}(?::{_GROUP}){{1,{7 - n}}}" for n in range(1, 7))]),
    "uri": rf"[a-z][a-z0-9+.-]{{1,15}}://{_HOST}(?::[1-9]\d{{0,3}})?"
           r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]*)*(?:\?[A-Za-z0-9._~!$&'()*+,;=:@/?-]*)?(?:#[A-Za-z0-9._~-]*)?",
    "uuid": "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}",
}
