"""The keywords of JSON Schema that are served, what they may hold, and how references are followed."""

from __future__ import annotations

from urllib.parse import unquote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PATH_LIMIT = 160  # characters of a path that are shown
TYPES = ("object", "array", "string", "number", "boolean", "null")

NUMERIC = frozenset(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"))
# Of each type: the keywords that say anything about its values.
KEYS: dict[str, frozenset] = {
    "object": frozenset(("properties", "required", "additionalProperties", "minProperties", "maxProperties")),
    "array": frozenset(("items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems")),
    "string": frozenset(("pattern", "format", "minLength", "maxLength")),
    "number": NUMERIC,
    "integer": frozenset(),
    "boolean": frozenset(),
    "null": frozenset(),
}
ANNOTATIONS = frozenset((
    "$schema", "$id", "id", "$comment", "$defs", "definitions", "$anchor", "title", "description", "default", "example",
    "examples", "deprecated", "readOnly", "writeOnly", "discriminator", "contentEncoding", "contentMediaType",
    "propertyOrdering", "strict"))
_OTHERS = frozenset(("type", "nullable", "enum", "const", "$ref", "allOf", "anyOf", "oneOf"))
_KNOWN = frozenset().union(*KEYS.values()) | ANNOTATIONS | _OTHERS


class Problem(Exception):
    """A schema that cannot be served: its JSON path, and why."""

    def __init__(self, path: str, why: str) -> None:
        shown = path if len(path) <= PATH_LIMIT else f"{path[:20]}…{path[20 - PATH_LIMIT:]}"
        super().__init__(f"{shown}: {why}")


def checked(schema: Any, path: str) -> None:
    """Raise Problem for what is no schema, and for a keyword that is not served."""
    if not isinstance(schema, dict):
        raise Problem(path, "is no schema; a schema is an object, true or false")
    for key in schema:
        if key not in _KNOWN and not (isinstance(key, str) and key.startswith("x-")):
            raise Problem(f"{path}/{key}", "this keyword is not served")


def types_of(schema: dict, path: str) -> list[str] | None:
    """Return the types that a schema names, each once, or None where it names none."""
    given = schema.get("type")
    if given is None:
        return None
    names = given if isinstance(given, list) else [given]
    for name in names:
        if not isinstance(name, str) or name not in KEYS:
            raise Problem(f"{path}/type", f"{name!r} is no type; {', '.join(KEYS)} are")
    if not names:
        raise Problem(f"{path}/type", "names no type")
    if schema.get("nullable") is True:
        names = [*names, "null"]
    if "number" in names:
        names = [name for name in names if name != "integer"]
    return list(dict.fromkeys(names))


def at_least(schema: dict, key: str, path: str) -> int:
    """Return a keyword's number, 0 where it is missing; it must be whole and not negative."""
    value = schema.get(key, 0)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 31:
        raise Problem(f"{path}/{key}", "must be a whole number, not negative and not huge")
    return value


def at_most(schema: dict, key: str, path: str) -> int | None:
    """Return a keyword's number, or None where it is missing."""
    return at_least(schema, key, path) if key in schema else None


def resolve(root: Any, ref: Any, path: str) -> Any:
    """Return the schema that a reference points to, within the same document."""
    if not isinstance(ref, str) or not (ref == "#" or ref.startswith("#/")):
        raise Problem(f"{path}/$ref", f"{ref!r} does not point into the schema; only # and #/… do")
    at = root
    for part in ref[2:].split("/") if len(ref) > 1 else ():
        name = unquote(part).replace("~1", "/").replace("~0", "~")
        if isinstance(at, list) and name.isdecimal() and int(name) < len(at):
            at = at[int(name)]
        elif isinstance(at, dict) and name in at:
            at = at[name]
        else:
            raise Problem(f"{path}/$ref", f"{ref} points to nothing")
    return at
