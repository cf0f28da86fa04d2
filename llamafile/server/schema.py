"""What a JSON value may be, as pieces of JSON Schema, and the check by them; /openapi.json shows the same pieces."""

from __future__ import annotations

import math

from llamafile.serving import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

INT32, INT64 = (1 << 31) - 1, (1 << 63) - 1
_KINDS = {
    "integer": "a whole number", "number": "a number", "string": "a string", "boolean": "true or false",
    "array": "a list", "object": "an object", "null": "null",
}  # fmt: skip


def invalid(field: str, what: str) -> Refused:
    """Return the refusal of a request for one of its fields; `what` reads on from the field's name."""
    return Refused(400, "invalid_request_error", f"{field}: {what}", param=field)


def integer(low: int = -INT64, high: int = INT64, about: str = "") -> dict[str, Any]:
    """A whole number; 5.0 is one as well."""
    return _described({"type": "integer", "minimum": low, "maximum": high}, about)


def number(low: float = -1e30, high: float = 1e30, about: str = "") -> dict[str, Any]:
    """A finite number."""
    return _described({"type": "number", "minimum": low, "maximum": high}, about)


def text(about: str = "", *, least: int = 0, most: int | None = None) -> dict[str, Any]:
    """A string of so many characters."""
    bounds = ({"minLength": least} if least else {}) | ({} if most is None else {"maxLength": most})
    return _described({"type": "string", **bounds}, about)


def choice(*words: str, about: str = "") -> dict[str, Any]:
    """One of some strings."""
    return _described({"type": "string", "enum": list(words)}, about)


def boolean(about: str = "") -> dict[str, Any]:
    """True or false."""
    return _described({"type": "boolean"}, about)


def items(of: dict[str, Any], about: str = "", *, least: int = 0, most: int | None = None) -> dict[str, Any]:
    """A list of such values."""
    bounds = ({"minItems": least} if least else {}) | ({} if most is None else {"maxItems": most})
    return _described({"type": "array", "items": of, **bounds}, about)


def mapping(about: str = "", **properties: dict[str, Any]) -> dict[str, Any]:
    """An object with these optional fields; others are ignored, and null is as good as absent."""
    found: dict[str, Any] = {"type": "object"}
    if properties:
        found["properties"] = properties
    return _described(found, about)


def needing(schema: dict[str, Any], *names: str) -> dict[str, Any]:
    """The object with some of its fields required."""
    return {**schema, "required": list(names)}


def either(*schemas: dict[str, Any], about: str = "") -> dict[str, Any]:
    """A value that is any of these; put the narrow ones first."""
    return _described({"anyOf": list(schemas)}, about)


def anything(about: str = "") -> dict[str, Any]:
    """Any value at all."""
    return _described({}, about)


def _described(schema: dict[str, Any], about: str) -> dict[str, Any]:
    return {**schema, "description": about} if about else schema


def published(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema as others read it: what `take` lets pass as null is said."""
    if "anyOf" in schema:
        return {**schema, "anyOf": [published(each) for each in schema["anyOf"]]}
    found = dict(schema)
    if "items" in found:
        found["items"] = published(found["items"])
    required = found.get("required", ())
    if "properties" in found:
        found["properties"] = {
            name: published(each) if name in required else _nullable(published(each))
            for name, each in found["properties"].items()
        }
    return found


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    if not schema.get("type") and "anyOf" not in schema:
        return schema
    about = schema.get("description", "")
    return _described({"anyOf": [{k: v for k, v in schema.items() if k != "description"}, {"type": "null"}]}, about)


def take(schema: dict[str, Any], value: Any, field: str = "") -> Any:
    """Return the value as the schema means it (5.0 as 5, null fields left out); raise Refused naming the field."""
    if "anyOf" in schema:
        return _take_any(schema, value, field)
    kind = schema.get("type")
    if kind is None:
        return value
    if kind == "object":
        return _take_object(schema, value, field)
    if kind == "array":
        return _take_array(schema, value, field)
    if kind == "integer" or kind == "number":
        return _take_number(schema, value, field)
    if not isinstance(value, bool if kind == "boolean" else str):
        raise invalid(field, f"{_shown(value)} is not {_KINDS[kind]}")
    if "enum" in schema and value not in schema["enum"]:
        raise invalid(field, f"{_shown(value)} is not one of {', '.join(schema['enum'])}")
    if kind == "string":
        _check_length(schema, value, "Length", "characters", field)
    return value


def _take_any(schema: dict[str, Any], value: Any, field: str) -> Any:
    kinds, closest = [], None
    for each in schema["anyOf"]:
        try:
            return take(each, value, field)
        except Refused as wrong:
            if closest is None and _is_kind(each, value):
                closest = wrong  # of the right kind, so this is the complaint that helps
            kinds.append(_KINDS.get(each.get("type", ""), "one of its kinds"))
    raise closest or invalid(field, f"{_shown(value)} is not {' or '.join(dict.fromkeys(kinds))}")


def _is_kind(schema: dict[str, Any], value: Any) -> bool:
    kind = "object" if isinstance(value, dict) else "array" if isinstance(value, list) else ""
    return bool(kind) and schema.get("type") == kind


def _take_object(schema: dict[str, Any], value: Any, field: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise invalid(field or "body", f"{_shown(value)} is not an object")
    known = schema.get("properties", {})
    inner = field + "." if field else ""
    required = schema.get("required", ())
    for name in required:
        if name not in value:
            raise invalid(inner + name, "is missing")
    return {
        name: take(known[name], each, inner + name) if name in known else each
        for name, each in value.items()
        if each is not None or name in required or name not in known
    }


def _take_array(schema: dict[str, Any], value: Any, field: str) -> list[Any]:
    if not isinstance(value, list):
        raise invalid(field, f"{_shown(value)} is not a list")
    _check_length(schema, value, "Items", "items", field)
    return [take(schema["items"], each, f"{field}[{index}]") for index, each in enumerate(value)]


def _take_number(schema: dict[str, Any], value: Any, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise invalid(field, f"{_shown(value)} is not {_KINDS[schema['type']]}")
    if schema["type"] == "integer" and isinstance(value, float):
        if not math.isfinite(value) or value != int(value):
            raise invalid(field, f"{value} is not a whole number")
        value = int(value)
    low, high = schema["minimum"], schema["maximum"]
    if not low <= value <= high:  # so NaN fails too
        raise invalid(field, f"{_shown(value)} is not between {low:g} and {high:g}")
    return value


def _check_length(schema: dict[str, Any], value: Any, what: str, unit: str, field: str) -> None:
    least, most = schema.get("min" + what, 0), schema.get("max" + what)
    if len(value) < least:
        raise invalid(field, "is empty" if not value else f"has {len(value)} {unit}, at least {least} are needed")
    if most is not None and len(value) > most:
        raise invalid(field, f"has {len(value)} {unit}, at most {most} are allowed")


def _shown(value: Any) -> str:
    """The value, cut short, as JSON would write the simple ones."""
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    shown = {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else (
        repr(value))
    return shown if len(shown) <= 60 else shown[:57] + "..."
