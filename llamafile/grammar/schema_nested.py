"""Objects and arrays of a JSON schema: members in the schema's order, those not required left out at will."""

from __future__ import annotations

from .network import CALL, CHOICE, EMPTY, NEVER, REPEAT, SEQUENCE, TEXT
from .schema import COLON, COMMA, WS, between
from .schema_keys import Problem, at_least, at_most

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .schema import Reader


def object_of(reader: Reader, rest: dict, path: str) -> tuple:
    """Return the objects that a schema accepts; others than the listed members come last, where they may come."""
    listed, needed, others = members(rest, path)
    least, most = at_least(rest, "minProperties", path), at_most(rest, "maxProperties", path)
    if not listed and others is not False:
        return _map(reader, others, least, most, path)
    if least > len(needed):
        raise Problem(f"{path}/minProperties", "cannot be more than the members that are required")
    if most is not None and (most < len(listed) or others is not False):
        raise Problem(f"{path}/maxProperties", "cannot be fewer than the members that are listed")
    parts = [(name, _member(reader.spelling.name(name), reader.expression(schema, f"{path}/properties/{name}")),
              name in needed) for name, schema in listed.items()]
    tail = EMPTY
    if others is not False:
        value = reader.expression(others, f"{path}/additionalProperties")
        tail = (REPEAT, (SEQUENCE, (COMMA, _member(reader.spelling.other_name(listed), value))), 0, None)
    inner = _chain(reader, [part for _, part, _ in parts], [need for _, _, need in parts], tail)
    return (SEQUENCE, ((TEXT, b"{"), WS, inner, (TEXT, b"}")))


def members(rest: dict, path: str) -> tuple[dict[str, Any], set[str], Any]:
    """Return the members that an object lists, the names that it must have, and the schema of others or False.

    Without a word about others there are none where members are listed, and any where none are.
    """
    listed, needed = rest.get("properties", {}), rest.get("required", [])
    if not isinstance(listed, dict):
        raise Problem(f"{path}/properties", "must be an object")
    if not isinstance(needed, list) or not all(isinstance(name, str) for name in needed):
        raise Problem(f"{path}/required", "must be a list of names")
    others = rest.get("additionalProperties", not listed and not needed)
    listed = dict(listed)
    for name in needed:
        if name not in listed:
            if rest.get("additionalProperties") is False:
                raise Problem(f"{path}/required", f"{name!r} is neither listed nor allowed beside what is")
            listed[name] = rest.get("additionalProperties", True)
    return listed, set(needed), others


def _member(name: tuple, value: tuple) -> tuple:
    return (SEQUENCE, (name, COLON, value))


def _map(reader: Reader, others: Any, least: int, most: int | None, path: str) -> tuple:
    """Return the objects with any names; as a name may come twice, more than one at least cannot be promised."""
    if least > 1:
        raise Problem(f"{path}/minProperties", "more than 1 cannot be served where the names are free")
    member = _member(reader.spelling.any_name(), reader.expression(others, f"{path}/additionalProperties"))
    return between(b"{", [member], b"}", least, most)


def _chain(reader: Reader, parts: list[tuple], needed: list[bool], tail: tuple) -> tuple:
    """Return the parts in order, those not needed left out at will, a comma between any two, then the tail.

    Each place has a rule for what follows once something stands before it, so that the whole grows with the number of
    parts and not with its square.
    """
    after = tail
    made = []  # of each place, from the last: what follows with a comma before it
    for part, need in zip(reversed(parts), reversed(needed), strict=True):
        made.append(after)
        with_comma = (SEQUENCE, (COMMA, part, after))
        after = _rule(reader, with_comma if need else (CHOICE, (with_comma, after)))
    made.reverse()
    ways = []
    for part, need, rest in zip(parts, needed, made, strict=True):
        ways.append((SEQUENCE, (part, rest, WS)))
        if need:
            return (CHOICE, tuple(ways))
    first_other = _first_of(tail)
    return (CHOICE, (*ways, EMPTY, *([(SEQUENCE, (first_other, tail, WS))] if first_other else [])))


def _first_of(tail: tuple) -> tuple | None:
    """Return a member of the tail without its comma."""
    return tail[1][1][1] if tail is not EMPTY else None


def _rule(reader: Reader, expression: tuple) -> tuple:
    name = f"{reader.prefix}-rest{len(reader.rules)}"
    reader.rules[name] = expression
    return (CALL, name)


def array_of(reader: Reader, rest: dict, path: str) -> tuple:
    """Return the arrays that a schema accepts; behind prefixItems nothing more comes unless items says so."""
    if rest.get("uniqueItems") not in (None, False):
        raise Problem(f"{path}/uniqueItems", "this keyword is not served")
    least, most = at_least(rest, "minItems", path), at_most(rest, "maxItems", path)
    if most is not None and most < least:
        raise Problem(f"{path}/maxItems", "is less than minItems")
    first, others, keys = rest.get("prefixItems"), rest.get("items"), ("prefixItems", "items")
    if first is None and isinstance(others, list):  # as before 2020
        first, others, keys = others, rest.get("additionalItems"), ("items", "additionalItems")
    if first is None:
        item = reader.expression(True if others is None else others, f"{path}/items")
        return between(b"[", [item], b"]", least, most)
    if not isinstance(first, list):
        raise Problem(f"{path}/prefixItems", "must be a list of schemas")
    if others is None:
        others = len(first) < least
    items = [reader.expression(schema, f"{path}/{keys[0]}/{i}") for i, schema in enumerate(first)]
    other = NEVER if others is False else reader.expression(others, f"{path}/{keys[1]}")
    return _tuple(reader, items, other, least, most)


def _tuple(reader: Reader, items: list[tuple], other: tuple, least: int, most: int | None) -> tuple:
    """Return arrays that begin with these items, as many of them as must come and more at will."""
    if most is not None:
        items = items[:most]
    more = None if most is None else most - len(items)
    after: tuple = (REPEAT, (SEQUENCE, (COMMA, other)), max(0, least - len(items)), more)
    for place in range(len(items) - 1, 0, -1):
        whole = (SEQUENCE, (COMMA, items[place], after))
        after = _rule(reader, whole if place < least else (CHOICE, (whole, EMPTY)))
    if not items:
        return between(b"[", [other], b"]", least, most)
    inner = (SEQUENCE, (items[0], after, WS))
    return (SEQUENCE, ((TEXT, b"["), WS, inner if least else (CHOICE, (inner, EMPTY)), (TEXT, b"]")))
