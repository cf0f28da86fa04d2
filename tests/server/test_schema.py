"""The check of requests against jsonschema, which knows nothing of it: both let the same values pass."""

from __future__ import annotations

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llamafile.server import app, openapi, schema
from llamafile.serving import Refused

BODIES = {name: app.load(name).BODY for name in sorted(set(app.PATHS.values())) if hasattr(app.load(name), "BODY")}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3) | st.sampled_from([1 << 40, -3, 0.5, 2.0, "auto", "user", "function", "json_object"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=8)


def passes(body, value):
    try:
        schema.take(body, value)
    except Refused:
        return False
    return True


@pytest.mark.parametrize("name", BODIES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_both_let_the_same_pass(name, data):
    body = BODIES[name]
    oracle = jsonschema.Draft202012Validator(schema.published(body))
    fields = sorted(body.get("properties", {})) or ["x"]
    required = {field: data.draw(JSON) for field in body.get("required", ())}
    value = data.draw(st.dictionaries(st.sampled_from(fields), JSON, max_size=3)) | (
        required if data.draw(st.booleans()) else {})
    value = data.draw(st.sampled_from([value, [value], JSON]))
    if not isinstance(value, (dict, list)):
        value = data.draw(JSON)
    assert passes(body, value) == oracle.is_valid(value), value


@pytest.mark.parametrize("name", BODIES)
def test_every_body_is_a_schema(name):
    jsonschema.Draft202012Validator.check_schema(schema.published(BODIES[name]))


def test_a_refusal_names_the_place():
    body = schema.mapping(a=schema.items(schema.needing(schema.mapping(b=schema.integer(0, 5)), "b")))
    for value, field in (({"a": [{"b": 1}, {"b": 9}]}, "a[1].b"), ({"a": [{}]}, "a[0].b"), ({"a": 3}, "a"),
                         (3, "body")):
        with pytest.raises(Refused) as wrong:
            schema.take(body, value)
        assert wrong.value.fields["param"] == field and wrong.value.message.startswith(f"{field}: ")


def test_values_come_out_as_they_are_meant():
    body = schema.mapping(n=schema.integer(0, 9), x=schema.either(schema.text(), schema.items(schema.integer())))
    assert schema.take(body, {"n": 5.0, "x": None, "other": None, "more": [1]}) == {"n": 5, "other": None, "more": [1]}
    assert isinstance(schema.take(body, {"n": 5.0})["n"], int)


def test_the_document_knows_every_path():
    document = openapi.document("", keys=True)
    assert set(document["paths"]) == {path.replace("*", "{id}") for path in app.PATHS}
    assert all(operations for operations in document["paths"].values())
    names = [operation["operationId"] for operations in document["paths"].values() for operation in operations.values()]
    assert len(names) == len(set(names))
    assert document["security"]
