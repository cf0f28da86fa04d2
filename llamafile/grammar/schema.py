"""From a JSON schema to rules: every text that they match is JSON that the schema accepts.

docs/grammar.md lists what is served. What cannot be promised is refused with its JSON path, never left out in silence.
White space is what json.dumps writes, with or without indent, and bounded, so that no model can go on with it for ever.
"""

from __future__ import annotations

import json

from llamafile.errors import LlamafileError

from . import schema_merge, strings
from .network import CALL, CHARS, CHOICE, EMPTY, NEVER, REPEAT, SEQUENCE, TEXT
from .numbers import INTEGER, NUMBER, decimal, integer
from .schema_keys import ANNOTATIONS, KEYS, TYPES, Problem, checked, resolve, types_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from typing import Any

SIZE_LIMIT = 1 << 18  # characters
DEPTH_LIMIT = 60
VISIT_LIMIT = 4000  # schemas looked at, those that others are merged from or told apart by among them
BOUNDS_VISITS = 40  # what a number's bounds count, which are written out digit by digit

SPACE = "ws"
_BLANKS = (CHARS, ((9, 9), (32, 32)))
SPACE_RULE = (CHOICE, (EMPTY, (TEXT, b" "), (SEQUENCE, (
    (REPEAT, (TEXT, b"\n"), 1, 2), (REPEAT, _BLANKS, 0, 40)))))
WS = (CALL, SPACE)
COMMA = (SEQUENCE, ((TEXT, b","), WS))
COLON = (SEQUENCE, ((TEXT, b":"), WS))


def read(text: Any, root: str = "root", spelling: Any = strings) -> dict[str, tuple]:
    """Return the rules of a schema, given as text or as what json.loads makes of it; raise LlamafileError.

    All but that of white space have names that begin with `root`, which is the name of the first. `spelling` says how
    texts and names are written where that is not as in JSON: it has `strings`' literal, of_length, matching, name,
    any_name and other_name.
    """
    try:
        schema = _parsed(text)
        reader = Reader(schema, root, spelling)
        reader.rules[root] = reader.expression(schema, "$")
    except Problem as wrong:
        raise LlamafileError(f"JSON schema: {wrong}") from None
    except RecursionError:
        raise LlamafileError("JSON schema: is nested too deeply; make it flatter") from None
    return reader.rules


def _parsed(text: Any) -> Any:
    if not isinstance(text, (str, bytes)):
        return text
    if len(text) > SIZE_LIMIT:
        raise Problem("$", f"has {len(text)} characters; at most {SIZE_LIMIT} are read")
    try:
        return json.loads(text, parse_constant=_no_constant)
    except ValueError as wrong:
        raise Problem("$", f"is not JSON ({wrong})") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


class Reader:
    """Makes rules of a schema; `rules` has those that expressions call."""

    def __init__(self, root: Any, prefix: str, spelling: Any = strings) -> None:
        self.root, self.prefix, self.spelling = root, prefix, spelling
        self.rules: dict[str, tuple] = {SPACE: SPACE_RULE}
        self.depth = self.visits = 0
        self._named: dict[str, str] = {}  # references: the names of their rules

    def expression(self, schema: Any, path: str) -> tuple:
        """Return what a schema accepts; `path` is where it stands."""
        self.visit(path)
        if schema is True or schema == {}:
            return self.anything()
        if schema is False:
            return NEVER
        checked(schema, path)
        self.depth += 1
        if self.depth > DEPTH_LIMIT:
            raise Problem(path, f"is nested more than {DEPTH_LIMIT} deep")
        found = self._expression(schema, path)
        self.depth -= 1
        return found

    def visit(self, path: str, times: int = 1) -> None:
        """Count one more schema looked at, or what takes as long as several."""
        self.visits += times
        if self.visits > VISIT_LIMIT:
            raise Problem(path, "the schema has too many parts when all of it is written out")

    def _expression(self, schema: dict, path: str) -> tuple:
        rest = {k: v for k, v in schema.items() if k not in ANNOTATIONS}
        if "$ref" in rest and len(rest) == 1:
            return self._reference(rest["$ref"], path)
        if "$ref" in rest or "allOf" in rest:
            return self.expression(schema_merge.flattened(self, rest, path), path)
        for key in ("oneOf", "anyOf"):
            if key in rest:
                return self._alternatives(rest, key, path)
        if "const" in rest or "enum" in rest:
            return self._listed(rest, path)
        types = types_of(rest, path)
        if types is None:
            types = [kind for kind, keys in KEYS.items() if keys & rest.keys()] or list(TYPES)
        return _choice([self._typed(kind, rest, path) for kind in types])

    def _reference(self, ref: Any, path: str) -> tuple:
        """Return a call of the rule of what a reference points to, which may be on the way to being made."""
        target = resolve(self.root, ref, path)
        name = self._named.get(ref)
        if name is None:
            name = self._named[ref] = f"{self.prefix}-ref{len(self._named)}"
            self.rules[name] = NEVER
            depth, self.depth = self.depth, 0
            self.rules[name] = self.expression(target, path + "/$ref")
            self.depth = depth
        return CALL, name

    def _alternatives(self, rest: dict, key: str, path: str) -> tuple:
        """Return one of several schemas, each together with what stands beside them."""
        ways, beside = rest[key], {k: v for k, v in rest.items() if k != key}
        if not isinstance(ways, list) or not ways:
            raise Problem(f"{path}/{key}", "must be a list of schemas")
        if key == "oneOf":
            schema_merge.check_apart(self, ways, f"{path}/oneOf")
        made = []
        for i, way in enumerate(ways):
            here = f"{path}/{key}/{i}"
            whole = schema_merge.both(self, beside, way, here) if beside else way
            made.append(self.expression(whole, here))
        return _choice(made)

    def _listed(self, rest: dict, path: str) -> tuple:
        """Return the values of const or enum, those of other types than the schema's left out."""
        values = rest["enum"] if "enum" in rest else [rest["const"]]
        if not isinstance(values, list) or not values:
            raise Problem(f"{path}/enum", "must be a list of values")
        if "const" in rest:
            wanted = identity(rest["const"])
            values = [v for v in values if identity(v) == wanted]
        for key in rest:
            if key not in ("const", "enum", "type", "nullable"):
                raise Problem(f"{path}/{key}", "cannot be served beside const or enum")
        types = types_of(rest, path)
        values = [v for v in values if types is None or kind_of(v) in types or
                  ("number" in types and kind_of(v) == "integer")]
        if not values:
            raise Problem(path, "no value is left that it accepts")
        return _choice([self.written(value) for value in values])

    def written(self, value: Any) -> tuple:
        """Return one value, its white space free as elsewhere."""
        if isinstance(value, dict):
            spell = self.spelling.name
            return _row(b"{", [(SEQUENCE, (spell(k), COLON, self.written(v))) for k, v in value.items()], b"}")
        if isinstance(value, list):
            return _row(b"[", [self.written(v) for v in value], b"]")
        return self.spelling.literal(value) if isinstance(value, str) else (TEXT, json.dumps(value).encode())

    def anything(self) -> tuple:
        """Return any JSON value."""
        names = {kind: f"{self.prefix}-{kind}" for kind in ("value", "string", "object", "array")}
        if names["value"] not in self.rules:
            calls = {kind: (CALL, name) for kind, name in names.items()}
            member = (SEQUENCE, (self.spelling.any_name(), COLON, calls["value"]))
            words = [(TEXT, word) for word in (b"true", b"false", b"null")]
            self.rules[names["string"]] = self.spelling.of_length(0, None)
            self.rules[names["object"]] = between(b"{", [member], b"}", 0, None)
            self.rules[names["array"]] = between(b"[", [calls["value"]], b"]", 0, None)
            self.rules[names["value"]] = (CHOICE, (calls["string"], calls["object"], calls["array"], NUMBER, *words))
        return CALL, names["value"]

    def _typed(self, kind: str, rest: dict, path: str) -> tuple:
        """Return the values of one type that the keywords of that type allow."""
        if not KEYS[kind] & rest.keys() and kind in ("object", "array", "string"):
            self.anything()
            return CALL, f"{self.prefix}-{kind}"
        if kind in ("object", "array"):
            from . import schema_nested

            return getattr(schema_nested, f"{kind}_of")(self, rest, path)
        return getattr(self, f"_{kind}")(rest, path)

    def _null(self, rest: dict, path: str) -> tuple:
        return TEXT, b"null"

    def _boolean(self, rest: dict, path: str) -> tuple:
        return (CHOICE, ((TEXT, b"true"), (TEXT, b"false")))

    def _integer(self, rest: dict, path: str) -> tuple:
        return self._numeral("integer", INTEGER, integer, rest, path)

    def _number(self, rest: dict, path: str) -> tuple:
        return self._numeral("number", NUMBER, decimal, rest, path)

    def _numeral(self, kind: str, free: tuple, bounded: Callable[..., tuple], rest: dict, path: str) -> tuple:
        """Return a call of the rule for numbers with these bounds: there is one, however many members have them."""
        bounds = schema_merge.bounds(rest, path)
        name = "-".join([self.prefix, kind, *map(str, bounds or ())])
        if name not in self.rules:
            if bounds:
                self.visit(path, BOUNDS_VISITS)
            self.rules[name] = bounded(*bounds) if bounds else free
        return CALL, name

    def _string(self, rest: dict, path: str) -> tuple:
        pattern, form = rest.get("pattern"), rest.get("format")
        sized = [key for key in ("minLength", "maxLength") if key in rest]
        if (pattern is not None) + (form is not None) + bool(sized) > 1:
            kinds = [k for k in ("pattern", "format", *sized) if k in rest]
            raise Problem(f"{path}/{kinds[1]}", f"cannot be served beside {kinds[0]}")
        if pattern is not None:
            self.visit(path, len(pattern) if isinstance(pattern, str) else 1)
            try:
                return self.spelling.matching(pattern)
            except ValueError as wrong:
                raise Problem(f"{path}/pattern", str(wrong)) from None
        if form is not None:
            if form not in strings.FORMATS:
                raise Problem(f"{path}/format", f"{form!r} is not known; {', '.join(strings.FORMATS)} are")
            name = f"{self.prefix}-format-{form}"
            if name not in self.rules:
                self.rules[name] = self.spelling.matching(strings.FORMATS[form], whole=True)
            return CALL, name
        return self.spelling.of_length(*schema_merge.sizes(rest, "minLength", "maxLength", path))


def between(opening: bytes, parts: list, closing: bytes, least: int, most: int | None) -> tuple:
    """Return a bracketed list of `least` to `most` of one of the parts, separated by commas."""
    part = _choice(parts)
    inner = EMPTY
    if most != 0:
        more = (REPEAT, (SEQUENCE, (COMMA, part)), max(least - 1, 0), None if most is None else most - 1)
        inner = (SEQUENCE, (part, more, WS))
    ways = [inner] if least or most == 0 else [EMPTY, inner]
    return (SEQUENCE, ((TEXT, opening), WS, _choice(ways), (TEXT, closing)))


def _choice(ways: list) -> tuple:
    return ways[0] if len(ways) == 1 else (CHOICE, tuple(ways))


def _row(opening: bytes, parts: list, closing: bytes) -> tuple:
    row = [(TEXT, opening), WS]
    for i, part in enumerate(parts):
        row += [COMMA, part] if i else [part]
    return (SEQUENCE, (*row, *([WS] if parts else []), (TEXT, closing)))


def kind_of(value: Any) -> str:
    """Return the narrowest JSON type of a value."""
    if value is None:
        return "null"
    if isinstance(value, float) and value.is_integer():
        return "integer"
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names[type(value)]


def identity(value: Any) -> Hashable:
    """Return what is equal for just those values that JSON Schema takes for equal: 1 is 1.0 but not true."""
    if isinstance(value, bool):
        return (bool, value)
    if isinstance(value, dict):
        return frozenset((name, identity(of)) for name, of in value.items())
    return tuple(map(identity, value)) if isinstance(value, list) else value
