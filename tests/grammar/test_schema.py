"""JSON schemas: what a grammar allows its schema accepts (by the jsonschema package), and what json.dumps writes."""

from __future__ import annotations

import json
import random
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llamafile.errors import LlamafileError
from llamafile.grammar import compile

from .walks import Masks, may

jsonschema = pytest.importorskip("jsonschema")
pytestmark = pytest.mark.models

SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]


def check(schema, text):
    jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER).validate(
        json.loads(text)
    )


def accepts(schema, tokenizer, *values, **style):
    grammar = compile("json_schema", schema, tokenizer)
    texts = [v if isinstance(v, bytes) else json.dumps(v, **style).encode() for v in values]
    return [may(grammar.matcher(), text) for text in texts]


PERSON = {
    "type": "object",
    "title": "Person",
    "required": ["name", "x"],
    "properties": {
        "name": {"type": "string", "description": "in full"},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"enum": ["a", "b", "c"]}, "maxItems": 4},
        "x": {"type": "number", "minimum": -2.5, "exclusiveMaximum": 7.25},
        "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
    },
}
SCHEMAS = [
    PERSON,
    {
        "type": "array",
        "prefixItems": [{"type": "integer"}, {"type": "string"}],
        "items": {"type": "boolean"},
        "minItems": 1,
        "maxItems": 4,
    },
    {
        "$defs": {
            "tree": {
                "type": "object",
                "properties": {"v": {"type": "integer"}, "kids": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
                "required": ["v"],
            }
        },
        "$ref": "#/$defs/tree",
    },
    {
        "type": "object",
        "properties": {"a": {"const": 1}, "ab": {}},
        "required": ["a"],
        "additionalProperties": {"type": "boolean"},
    },
    {
        "oneOf": [
            {
                "type": "object",
                "properties": {"kind": {"const": "a"}, "n": {"type": "integer"}},
                "required": ["kind", "n"],
            },
            {"type": "object", "properties": {"kind": {"const": "b"}, "s": {"type": "string"}}, "required": ["kind"]},
            {"type": "null"},
        ]
    },
    {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "integer", "minimum": 3}}, "required": ["a"]},
            {"properties": {"a": {"maximum": 9}, "b": {"type": "string"}}},
        ]
    },
    {"type": "string", "pattern": r"^(a[b-d]+\d{2,3}|\"q\" é)$"},
    {"type": "string", "pattern": r"[xy]"},
    {"type": "string", "minLength": 2, "maxLength": 5},
    {"type": ["integer", "null"], "maximum": -7},
    {"enum": ['é\n"', 1.5, None, True, {"a": [1, {}]}, []]},
    {"type": ["object", "null"], "minProperties": 1},
    {
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
        "type": "object",
        "properties": {"a": {"type": "boolean"}, "b": {"type": "integer"}},
    },
]
FORMATS = ["date", "time", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uuid"]


@pytest.mark.parametrize("schema", SCHEMAS, ids=range(len(SCHEMAS)))
def test_random_texts_are_valid(schema, smol):
    grammar, masks, chance, ended = compile("json_schema", schema, smol), Masks(smol), np.random.default_rng(7), 0
    for _ in range(12):
        text = masks.walk(grammar, chance, steps=25, closers=b'"]}012.xz')
        if text is not None:
            check(schema, text)
            ended += 1
    assert ended > 3


@pytest.mark.parametrize("form", FORMATS)
def test_formats(form, smol):
    schema = {"type": "string", "format": form}
    grammar, masks, chance = compile("json_schema", schema, smol), Masks(smol), np.random.default_rng(5)
    for _ in range(10):
        text = masks.walk(grammar, chance, steps=12, closers=b'"0159SZ')
        if text is not None:
            check(schema, text)


def test_formats_take_what_is_usual(smol):
    usual = {
        "date": ["2026-11-26", "2024-02-29"],
        "time": ["10:00:00Z", "23:59:59.123+02:00"],
        "uri": ["https://a.bc/d?e=f#g"],
        "date-time": ["2026-11-26T10:00:00Z"],
        "uuid": ["123e4567-e89b-12d3-a456-426614174000"],
        "email": ["jo.doe+x@example.org"],
        "ipv4": ["192.168.0.1"],
        "ipv6": ["::1", "2001:db8::8a2e:370:7334"],
        "hostname": ["a.example.org"],
        "duration": ["P1DT2H", "P3W", "PT5M"],
    }
    for form, texts in usual.items():
        assert accepts({"type": "string", "format": form}, smol, *texts) == [True] * len(texts), form
    wrong = ["2023-02-29", "2026-13-01", "0000-01-01"]
    assert accepts({"type": "string", "format": "date"}, smol, *wrong) == [False] * 3


# Schemas of all that is served, made at random; what hypothesis draws for them is drawn from the schema as well.
words = st.text(alphabet='ab"\\é\n😀 ', max_size=3)
scalars = st.none() | st.booleans() | st.integers(-50, 50) | st.floats(-9, 9).map(lambda x: round(x, 3)) | words


def numbers(kind):
    bound = st.integers(-30, 30) if kind == "integer" else st.integers(-300, 300).map(lambda n: n / 8)
    return st.fixed_dictionaries({"type": st.just(kind)}, optional={"minimum": bound, "maximum": bound}).filter(
        lambda s: s.get("minimum", -99) <= s.get("maximum", 99)
    )


strings = (
    st.just({"type": "string"})
    | st.builds(
        lambda a, b: {"type": "string", "minLength": a, "maxLength": a + b}, st.integers(0, 3), st.integers(0, 3)
    )
    | st.sampled_from(["^[a-c]{1,3}$", "b", r"^\d+(,\d+)*$", '^(é|")?$']).map(
        lambda p: {"type": "string", "pattern": p}
    )
)
listed = st.builds(lambda v: {"enum": v}, st.lists(scalars, min_size=1, max_size=3)) | scalars.map(
    lambda v: {"const": v}
)
leaves = st.one_of(
    numbers("integer"),
    numbers("number"),
    strings,
    listed,
    st.just({"type": "boolean"}),
    st.just({"type": ["null", "boolean"]}),
    st.just({}),
    st.just(True),
)


def objects(inner):
    def made(members, needed, others):
        schema = {"type": "object", "properties": members, "required": [n for n in members if n in needed]}
        return schema if others is None else {**schema, "additionalProperties": others}

    names = st.sampled_from(["a", "ab", "b", 'q"', "é"])
    return st.builds(
        made, st.dictionaries(names, inner, max_size=4), st.sets(names), st.none() | st.booleans() | leaves
    )


def arrays(inner):
    def made(first, item, least, more):
        schema = {"type": "array", "items": item, "minItems": least, "maxItems": least + more}
        return {**schema, "prefixItems": first} if first else schema

    return st.builds(made, st.lists(inner, max_size=2), inner, st.integers(0, 2), st.integers(0, 2))


schemas = st.recursive(
    leaves,
    lambda inner: st.one_of(
        objects(inner),
        arrays(inner),
        st.lists(inner, min_size=1, max_size=3).map(lambda s: {"anyOf": s}),
        st.lists(inner, min_size=1, max_size=2).map(lambda s: {"allOf": s}),
        st.lists(inner, min_size=1, max_size=2).map(lambda s: {"oneOf": s}),
    ),
    max_leaves=6,
)


@settings(max_examples=120, deadline=None, suppress_health_check=SLOW)
@given(schemas, st.integers(0, 2**32))
def test_random_schemas(smol, schema, seed):
    try:
        grammar = compile("json_schema", schema, smol)
    except LlamafileError as problem:
        assert "\n" not in str(problem)
        return
    masks, chance = Masks(smol), np.random.default_rng(seed)
    for _ in range(2):
        text = masks.walk(grammar, chance, steps=12, closers=b'"]}01')
        if text is not None:
            check(schema, text)


def value(schema, chance, depth=0):
    """A value that a plain schema accepts, its members in the schema's order."""
    kind = schema.get("type")
    if "enum" in schema:
        return chance.choice(schema["enum"])
    if kind == "object":
        return {
            n: value(s, chance, depth + 1)
            for n, s in schema["properties"].items()
            if n in schema["required"] or chance.random() < 0.5
        }
    if kind == "array":
        return [value(schema["items"], chance, depth + 1) for _ in range(chance.randint(0, 3))]
    if kind == "string":
        return "".join(chance.choices('abc "\\/\n\té€😀\x00\x7f', k=chance.randint(0, 12)))
    if kind == "integer":
        return chance.randint(schema.get("minimum", -(10**9)), schema.get("maximum", 10**9))
    return chance.choice([True, False]) if kind == "boolean" else round(chance.uniform(-1e6, 1e6), chance.randint(0, 8))


def plain(chance, depth=0):
    kinds = ["string", "integer", "number", "boolean", "enum", *(["object", "array", "object"] if depth < 3 else [])]
    kind = chance.choice(kinds)
    if kind == "enum":
        return {"enum": ["x", 1, None, [1, {"a": "é"}]]}
    if kind == "integer":
        low = chance.randint(-1000, 1000)
        return chance.choice([{"type": kind}, {"type": kind, "minimum": low, "maximum": low + chance.randint(0, 5000)}])
    if kind == "array":
        return {"type": kind, "items": plain(chance, depth + 1)}
    if kind == "object":
        names = chance.sample(["id", "name", "é", "a b", 'x"y', "z"], chance.randint(0, 5))
        return {
            "type": kind,
            "properties": {n: plain(chance, depth + 1) for n in names},
            "required": [n for n in names if chance.random() < 0.5],
            "additionalProperties": False,
        }
    return {"type": kind}


@pytest.mark.parametrize("style", [{}, {"indent": 2}, {"separators": (",", ":")}, {"ensure_ascii": False}])
def test_what_json_dumps_writes_is_taken(style, smol):
    chance = random.Random(str(style))
    for _ in range(150):
        schema = plain(chance)
        values = [value(schema, chance) for _ in range(3)]
        for v in values:
            jsonschema.validate(v, schema)
        assert accepts(schema, smol, *values, **style) == [True] * 3, (schema, values)


def test_json_object(smol):
    values = [{}, {"a": [1, -2.5e-7, {"b": None}], "é": "\ud83d\ude00"}, [], "x", 3]
    assert accepts({"type": "object"}, smol, *values) == [True, True, False, False, False]
    assert accepts({}, smol, *values) == [True] * 5
    wrong = [
        b'{"a":1,}',
        b'{"a" 1}',
        b"{a:1}",
        b'"\\ud800"',
        b'"\\x"',
        b"01",
        b"1.",
        b"+1",
        b'"\n"',
        b"[1 2]",
        b" {}",
        b"nul",
    ]
    assert accepts({}, smol, *wrong) == [False] * len(wrong)


def test_white_space_ends(smol):
    """A model that only ever writes blanks is stopped."""
    matcher = compile("json_schema", PERSON, smol).matcher()
    assert matcher.accept_bytes(b"{\n\n" + b" " * 40) and not matcher.accept_bytes(b" ")


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"type": "array", "uniqueItems": True}, "$/uniqueItems: this keyword is not served"),
        ({"properties": {"a": {"not": {}}}}, "$/properties/a/not: this keyword is not served"),
        ({"properties": {"a": {"items": {"if": {}}}}}, "$/properties/a/items/if: this keyword is not served"),
        ({"patternProperties": {}}, "$/patternProperties: this keyword is not served"),
        ({"type": "array", "contains": {}}, "$/contains: this keyword is not served"),
        ({"type": "number", "multipleOf": 0.5}, "$/multipleOf: this keyword is not served, but 1 for integers"),
        ({"$ref": "https://x.y/z"}, "$/$ref: 'https://x.y/z' does not point into the schema; only # and #/… do"),
        ({"$ref": "#/$defs/x"}, "$/$ref: #/$defs/x points to nothing"),
        ({"type": "strin"}, "$/type: 'strin' is no type; object, array, string, number, integer, boolean, null are"),
        ({"enum": []}, "$/enum: must be a list of values"),
        (
            {"type": "string", "format": "colour"},
            "$/format: 'colour' is not known; date, time, date-time, duration, email, "
            "hostname, ipv4, ipv6, uri, uuid are",
        ),
        (
            {"type": "string", "pattern": "(?=a)b"},
            "$/pattern: column 1: only plain groups are known: no looking around, no conditions, no flags",
        ),
        ({"type": "string", "pattern": "a", "maxLength": 3}, "$/maxLength: cannot be served beside pattern"),
        (
            {"oneOf": [{"type": "integer"}, {"type": "number"}]},
            "$/oneOf: 0 and 1 might accept the same value; tell them apart "
            "by type, by a constant member or by required members, or use anyOf",
        ),
        ({"allOf": [{"type": "string"}, {"type": "integer"}]}, "$/allOf/1/type: no type is left that all parts accept"),
        (
            {"type": "object", "required": ["a"], "additionalProperties": False},
            "$/required: 'a' is neither listed nor allowed beside what is",
        ),
        ({"type": "string", "minLength": -1}, "$/minLength: must be a whole number, not negative and not huge"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "$: its minimum is above its maximum"),
        ([1], "$: is no schema; a schema is an object, true or false"),
        ('{"a":', "$: is not JSON (Expecting value: line 1 column 6 (char 5))"),
        ("NaN", "$: is not JSON (NaN is no number)"),
    ],
)
def test_what_cannot_be_served_is_named(schema, problem, smol):
    with pytest.raises(LlamafileError) as caught:
        compile("json_schema", schema, smol)
    assert str(caught.value) == f"JSON schema: {problem}"


def test_what_no_text_can_match_is_refused(smol):
    for schema in (
        False,
        {"type": "array", "minItems": 1, "items": False},
        {"$ref": "#"},
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
    ):
        with pytest.raises(LlamafileError, match=r"^grammar: matches no text at all$"):
            compile("json_schema", schema, smol)


def test_oneof_is_told_apart(smol):
    """Alternatives that can be told apart are served; each text is accepted by one of them alone."""
    closed = {
        "oneOf": [
            {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
            {"type": "object", "properties": {"b": {"type": "integer"}}, "required": ["b"]},
        ]
    }
    assert accepts(closed, smol, {"a": 1}, {"b": 2}, {"a": 1, "b": 2}, {}) == [True, True, False, False]


BOMB = {
    "$defs": {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(60)} | {"d60": {"type": "null"}},
    "$ref": "#/$defs/d0",
}
LAUGHS = {
    "$defs": {f"d{i}": {"type": "array", "prefixItems": [{"$ref": f"#/$defs/d{i + 1}"}] * 10} for i in range(60)}
    | {"d60": {"type": "null"}},
    "$ref": "#/$defs/d0",
}
ONES = {"oneOf": [{"type": "object", "properties": {f"k{i}": {}}, "required": [f"k{i}"]} for i in range(400)]}
TREE = {
    "$defs": {
        f"d{i}": {"properties": {f"p{k}": {"$ref": f"#/$defs/d{i + 1}", "minProperties": 0} for k in range(8)}}
        for i in range(9)
    }
    | {"d9": {"type": "object"}},
    "$ref": "#/$defs/d0",
}


def ways(depth, n=4):
    return {"anyOf": [ways(depth - 1, n)] * n} if depth else {"type": "object", "required": ["a"]}


def members(n, schema):
    return {"type": "object", "properties": {f"p{i}": schema(i) for i in range(n)}}


HOSTILE = {
    "1 MB of brackets": "[" * 1_000_000,
    "1 MB of text": json.dumps({"const": "x" * 1_000_000}),
    "deep": json.loads('{"items":' * 900 + "{}" + "}" * 900),
    "merging without end": BOMB,
    "many alternatives": ONES,
    "references with neighbours": TREE,
    "ways of ways": {"oneOf": [ways(6), {"type": "object", "required": ["b"], "properties": {"a": False}}]},
    "ways of ways of objects": {"type": "object", "properties": {"x": {"oneOf": [ways(5), ways(5)]}}},
    "lists told apart": {"oneOf": [{"enum": [f"{k}{i}" for i in range(20_000)]} for k in "ab"]},
    "patterns": members(50, lambda i: {"type": "string", "pattern": f"{'[^a]' * 300}{i}"}),
    "bounds": members(500, lambda i: {"type": "number", "minimum": -1.2345678e5 - i, "maximum": 9.8765432e9 + i}),
    "members": members(5000, lambda i: {"type": ["integer", "null"]}),
    "merging with itself": {"allOf": [{"$ref": "#"}]},
    "huge count": {"type": "string", "minLength": 2**40},
    "deep text": '{"items":' * 20_000 + "{}" + "}" * 20_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_schemas_are_refused_at_once(name, smol):
    compile("json_schema", {}, smol)  # the tree of the vocabulary is there
    times = []
    for _ in range(3):  # as another process's work in the same core's caches counts too
        started = time.process_time()
        with pytest.raises(LlamafileError) as caught:
            compile("json_schema", HOSTILE[name], smol)
        times.append(time.process_time() - started)
    assert min(times) < 0.5, times  # 0.04 s on an idle machine
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_rules_that_call_each_other_do_not_grow(smol):
    doubled = {"$defs": {f"d{i}": {"anyOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 20} for i in range(60)},
               "$ref": "#/$defs/d0"}
    doubled["$defs"]["d60"] = {"type": "array"}
    for schema, text in ((LAUGHS, b"[" * 60), (doubled, b"[[]")):
        started = time.process_time()
        matcher = compile("json_schema", schema, smol).matcher()
        assert time.process_time() - started < 0.5 and matcher.accept_bytes(text)


def test_many_alternatives_told_by_a_constant(smol):
    """What a member says is compared once for all, so hundreds of alternatives are served."""
    ones = [{"type": "object", "properties": {"k": {"const": i}}, "required": ["k"]} for i in range(400)]
    assert accepts({"oneOf": ones}, smol, {"k": 0}, {"k": 399}, {"k": 400}) == [True, True, False]
    with pytest.raises(LlamafileError, match="might accept the same value"):
        compile("json_schema", {"oneOf": [*ones[:9], {**ones[7]}]}, smol)


def test_schemas_of_real_size_are_served(smol):
    """The bounds on work leave room for more than forms of any length that people fill in."""
    large = members(250, lambda i: [
        {"type": "integer"}, {"type": "number", "minimum": i, "maximum": 2 * i + 0.5}, {"type": ["string", "null"]},
        {"type": "string", "format": "date-time"}, {"enum": [f"value {i} {k}" for k in range(20)]},
        {"type": "array", "items": members(5, lambda k: {"type": "boolean"})}][i % 6])
    value = {"p0": 1, "p1": 2.25, "p2": None, "p4": "value 4 19", "p5": [{"p0": True}], "p246": 3}
    assert accepts(large, smol, value, {"p4": "value 5 19"}) == [True, False]
    assert accepts({"enum": [f"city {i}" for i in range(5000)]}, smol, "city 4999", "city 5000") == [True, False]
