"""Two schemas as one (allOf, $ref with neighbours), and whether two schemas (oneOf) can never accept the same value."""

from __future__ import annotations

from .numbers import PLACES, units
from .schema_keys import ANNOTATIONS, TYPES, Problem, at_least, at_most, checked, resolve, types_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .schema import Reader

_MEMBERS = frozenset(("properties", "additionalProperties"))
_LARGEST = ("minLength", "minItems", "minProperties", "minimum", "exclusiveMinimum")
_SMALLEST = ("maxLength", "maxItems", "maxProperties", "maximum", "exclusiveMaximum")


def bounds(rest: dict, path: str) -> tuple | None:
    """Return (low, high, low is excluded, high is excluded) of a number, or None where nothing bounds it."""
    multiple = rest.get("multipleOf")
    if multiple is not None and not (multiple == 1 and "integer" in (types_of(rest, path) or [])):
        raise Problem(f"{path}/multipleOf", "this keyword is not served, but 1 for integers")
    low = _bound(rest, "minimum", "exclusiveMinimum", path, max)
    high = _bound(rest, "maximum", "exclusiveMaximum", path, min)
    if low is None and high is None:
        return None
    (first, above), (last, below) = low or (None, False), high or (None, False)
    if first is not None and last is not None and first > last:
        raise Problem(path, "its minimum is above its maximum")
    return first, last, above, below


def _bound(rest: dict, key: str, other: str, path: str, tighter) -> tuple[int, bool] | None:
    found: list[tuple[int, bool]] = []
    for name in (key, other):
        value = rest.get(name)
        if value is None:
            continue
        if isinstance(value, bool):  # draft 4 has flags beside the bounds
            if name == key or key not in rest:
                raise Problem(f"{path}/{name}", "must be a number")
            if value and found:
                found = [(found[0][0], True)]
            continue
        if not isinstance(value, (int, float)) or not abs(value) < 1e15:
            raise Problem(f"{path}/{name}", "must be a number of at most 15 digits")
        exact = units(value)
        if exact is None:
            raise Problem(f"{path}/{name}", f"must have at most {PLACES} decimals")
        found.append((exact, name == other))
    return tighter(found, key=lambda b: (b[0], b[1] if tighter is max else not b[1])) if found else None


def sizes(rest: dict, low: str, high: str, path: str) -> tuple[int, int | None]:
    """Return the numbers of two keywords, of which the second may be missing."""
    least, most = at_least(rest, low, path), at_most(rest, high, path)
    if most is not None and most < least:
        raise Problem(f"{path}/{high}", f"is less than {low}")
    return least, most


def flattened(reader: Reader, schema: dict, path: str) -> Any:
    """Return a schema whose $ref and allOf are merged into it."""
    whole: Any = {k: v for k, v in schema.items() if k not in ("$ref", "allOf")}
    parts = []
    if "$ref" in schema:
        parts.append((resolve(reader.root, schema["$ref"], path), f"{path}/$ref"))
    if "allOf" in schema:
        if not isinstance(schema["allOf"], list) or not schema["allOf"]:
            raise Problem(f"{path}/allOf", "must be a list of schemas")
        parts += [(part, f"{path}/allOf/{i}") for i, part in enumerate(schema["allOf"])]
    for part, where in parts:
        whole = both(reader, whole, part, where)
    return whole


def both(reader: Reader, a: Any, b: Any, path: str) -> Any:
    """Return a schema that accepts what both accept."""
    reader.visit(path)
    if a is False or b is False:
        return False
    if a is True or a == {}:
        return b
    if b is True:
        return a
    checked(a, path)
    checked(b, path)
    b = {k: v for k, v in b.items() if k not in ANNOTATIONS}
    reader.depth += 1
    if reader.depth > 60:
        raise Problem(path, "is nested too deeply")
    if "$ref" in b or "allOf" in b:
        b = flattened(reader, b, path)
        if not isinstance(b, dict):
            reader.depth -= 1
            return both(reader, a, b, path)
    whole = {k: v for k, v in a.items() if k not in ANNOTATIONS}
    if _MEMBERS & whole.keys() and _MEMBERS & b.keys():
        whole, b = _with_members(reader, whole, b, path)
    for key, value in b.items():
        whole[key] = _merged(reader, key, whole[key], value, path) if key in whole else value
    reader.depth -= 1
    return whole


def _merged(reader: Reader, key: str, a: Any, b: Any, path: str) -> Any:
    """Return what a keyword says in both of two schemas."""
    if a == b and type(a) is type(b):
        return a
    if key in _LARGEST:
        return max(a, b)
    if key in _SMALLEST:
        return min(a, b)
    if key == "type":
        return _common_types(a, b, path)
    if key == "required":
        return list(dict.fromkeys([*a, *b]))
    if key == "enum":
        from .schema import identity

        allowed = set(map(identity, b))
        return [value for value in a if identity(value) in allowed]
    if key == "items" and not isinstance(a, list) and not isinstance(b, list):
        return both(reader, a, b, f"{path}/items")
    if key == "uniqueItems":
        return a or b
    raise Problem(f"{path}/{key}", "cannot be served together with the same keyword beside it")


def _common_types(a: Any, b: Any, path: str) -> list[str]:
    first, second = types_of({"type": a}, path) or [], types_of({"type": b}, path) or []
    found = [name for name in first if name in second or (name == "integer" and "number" in second)]
    found += [name for name in second if name == "integer" and "number" in first and name not in found]
    if not found:
        raise Problem(f"{path}/type", "no type is left that all parts accept")
    return found


def _with_members(reader: Reader, a: dict, b: dict, path: str) -> tuple[dict, dict]:
    """Return two schemas, of which the first has the members of both: what one does not list must suit its others."""
    listed: dict[str, Any] = {}
    of_a, of_b = a.get("properties", {}), b.get("properties", {})
    others_a, others_b = a.get("additionalProperties", True), b.get("additionalProperties", True)
    if not isinstance(of_a, dict) or not isinstance(of_b, dict):
        raise Problem(f"{path}/properties", "must be an object")
    for name in [*of_a, *(n for n in of_b if n not in of_a)]:
        schema = both(reader, of_a.get(name, others_a), of_b.get(name, others_b), f"{path}/properties/{name}")
        if schema is not False:
            listed[name] = schema
    whole, rest = dict(a), {k: v for k, v in b.items() if k not in ("properties", "additionalProperties")}
    if listed or of_a or of_b:
        whole["properties"] = listed
    if "additionalProperties" in a or "additionalProperties" in b:
        whole["additionalProperties"] = both(reader, others_a, others_b, f"{path}/additionalProperties")
    return whole, rest


def check_apart(reader: Reader, ways: list, path: str) -> None:
    """Raise Problem where two schemas of oneOf might accept the same value."""
    plain = []
    for i, way in enumerate(ways):
        reader.visit(path)
        here = f"{path}/{i}"
        while isinstance(way, dict) and ("$ref" in way or "allOf" in way):
            reader.visit(path)
            way = flattened(reader, way, here)
        plain.append(way)
    if _told_by_a_constant(plain):
        return
    for i, one in enumerate(plain):
        for k in range(i):
            if not apart(reader, one, plain[k], 8):
                raise Problem(path, f"{k} and {i} might accept the same value; tell them apart by type, by a constant "
                                    "member or by required members, or use anyOf")


def _told_by_a_constant(ways: list) -> bool:
    """Return whether a member that all of these objects must have is a different constant in each."""
    if not all(isinstance(way, dict) and isinstance(way.get("properties"), dict) and way.get("type") == "object"
               and isinstance(way.get("required"), list) for way in ways):
        return False
    from .schema import identity

    for name in ways[0]["required"]:
        members = [way["properties"].get(name) if name in way["required"] else None for way in ways]
        if all(isinstance(member, dict) and "const" in member for member in members):
            return len({identity(member["const"]) for member in members if member}) == len(ways)
    return False


def apart(reader: Reader, a: Any, b: Any, depth: int) -> bool:
    """Return whether no text that the grammar of one schema allows is accepted by the other, as far as can be seen."""
    reader.visit("$")
    if a is False or b is False:
        return True
    if not isinstance(a, dict) or not isinstance(b, dict) or not depth:
        return False
    for one, other in ((a, b), (b, a)):
        for key in ("anyOf", "oneOf"):
            if isinstance(one.get(key), list):
                return all(apart(reader, _seen(reader, way), other, depth - 1) for way in one[key])
    values_a, values_b = _values(a), _values(b)
    if values_a is not None and values_b is not None:
        from .schema import identity

        reader.visit("$", (len(values_a) + len(values_b)) // 8)
        return set(map(identity, values_a)).isdisjoint(map(identity, values_b))
    kinds_a, kinds_b = _kinds(a, values_a), _kinds(b, values_b)
    if not kinds_a & kinds_b:
        return True
    if kinds_a & kinds_b == {"object"} and values_a is None and values_b is None:
        return _objects_apart(reader, a, b, depth)
    return False


def _seen(reader: Reader, way: Any) -> Any:
    return flattened(reader, way, "$") if isinstance(way, dict) and ("$ref" in way or "allOf" in way) else way


def _values(schema: dict) -> list | None:
    if "const" in schema:
        return [schema["const"]]
    return schema["enum"] if isinstance(schema.get("enum"), list) else None


def _kinds(schema: dict, values: list | None) -> set[str]:
    """Return the types of what a schema accepts, integers as numbers."""
    if values is not None:
        from .schema import kind_of

        names = {kind_of(value) for value in values}
    else:
        names = set(types_of(schema, "$") or TYPES)
    return {"number" if name == "integer" else name for name in names}


def _objects_apart(reader: Reader, a: dict, b: dict, depth: int) -> bool:
    of_a, of_b = a.get("properties", {}), b.get("properties", {})
    for name in set(a.get("required", ())) & set(b.get("required", ())):
        if apart(reader, _seen(reader, of_a.get(name)), _seen(reader, of_b.get(name)), depth - 1):
            return True
    # What the grammar writes has listed members only, unless others are asked for.
    return (_lacks(a, of_a, b) or _forbids(a, b, of_b)) and (_lacks(b, of_b, a) or _forbids(b, a, of_a))


def _lacks(schema: dict, listed: dict, other: dict) -> bool:
    """Return whether objects of a schema never have some member that another one requires."""
    free = schema.get("additionalProperties", not listed and not schema.get("required"))
    have = {*listed, *schema.get("required", ())}
    return free is False and any(name not in have for name in other.get("required", ()))


def _forbids(schema: dict, other: dict, listed: dict) -> bool:
    """Return whether objects of a schema always have some member that another one forbids."""
    return other.get("additionalProperties") is False and any(n not in listed for n in schema.get("required", ()))
