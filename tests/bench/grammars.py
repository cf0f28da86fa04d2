"""Grammars: the cost of a mask a token over 49k and 151k tokens, first and again, and how long a grammar compiles."""

from __future__ import annotations

import json
import statistics
import time

from llamafile._native import ffi
from llamafile.gguf.reader import open_path
from llamafile.grammar import cache, compile
from llamafile.tokens import Tokenizer
from tests import weights

from .limits import Missing

ADDRESS = {
    "type": "object",
    "required": ["street", "city", "country"],
    "properties": {
        "street": {"type": "string", "maxLength": 80},
        "city": {"type": "string"},
        "country": {"enum": ["DE", "FR", "JP", "US", "BR"]},
        "zip": {"type": "string", "pattern": "^[0-9]{4,6}$"},
    },
}
SCHEMA = {
    "type": "object",
    "required": ["id", "customer", "items", "total", "status"],
    "$defs": {
        "address": ADDRESS,
        "comment": {
            "type": "object",
            "required": ["text"],
            "properties": {
                "text": {"type": "string"},
                "replies": {"type": "array", "items": {"$ref": "#/$defs/comment"}},
            },
        },
    },
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "created": {"type": "string", "format": "date-time"},
        "customer": {
            "type": "object",
            "required": ["name", "email", "address"],
            "properties": {
                "name": {"type": "string", "minLength": 1, "maxLength": 120},
                "email": {"type": "string", "format": "email"},
                "age": {"type": "integer", "minimum": 0, "maximum": 150},
                "address": {"$ref": "#/$defs/address"},
                "newsletter": {"type": "boolean"},
            },
        },
        "items": {
            "type": "array",
            "minItems": 1,
            "maxItems": 50,
            "items": {
                "type": "object",
                "required": ["sku", "quantity", "price"],
                "properties": {
                    "sku": {"type": "string", "pattern": "^[A-Z]{3}-[0-9]{4}$"},
                    "title": {"type": "string"},
                    "quantity": {"type": "integer", "minimum": 1},
                    "price": {"type": "number", "minimum": 0},
                    "tags": {"type": "array", "items": {"type": "string"}},
                },
            },
        },
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "total": {"type": "number"},
        "status": {"enum": ["open", "paid", "shipped", "cancelled"]},
        "comments": {"type": "array", "items": {"$ref": "#/$defs/comment"}},
    },
}
ORDER = {
    "id": "123e4567-e89b-12d3-a456-426614174000",
    "created": "2026-11-26T10:00:00Z",
    "customer": {
        "name": "Ada Lovelace-Byron",
        "email": "ada@example.org",
        "age": 36,
        "address": {"street": "12 St James's Square, second floor", "city": "São Paulo 東京", "country": "BR"},
    },
    "items": [
        {
            "sku": f"ABC-{1000 + i}",
            "title": 'A thing of brass, with wheels and a "crank"',
            "quantity": i + 1,
            "price": 19.5 * i,
            "tags": ["brass", "analytical engine"],
        }
        for i in range(5)
    ],
    "note": "Please ring twice; the bell is broken.\nThank you 😀",
    "total": 292.5,
    "status": "paid",
    "comments": [{"text": "When does it ship?", "replies": [{"text": "Tomorrow, says the warehouse."}]}],
}
GBNF = r"""
root ::= (title paragraph list? code?){1,9}
title ::= "#"{1,3} " " [^\n#]{1,80} "\n\n"
paragraph ::= (sentence " "?){1,20} "\n\n"
sentence ::= [A-Z] [a-zA-Z0-9 ,;'"-]* [.!?]
list ::= ("- " [^\n]+ "\n"){1,20} "\n"
code ::= "```" ("python" | "c" | "sh") "\n" ([^`\n]* "\n")* "```\n"
"""
PAGE = (
    "# Grammars\n\n"
    + "A grammar says which texts may come. The mask follows, token by token. " * 3
    + "\n\n- one\n- two\n\n"
    + "```python\nfor token in answer:\n    matcher.accept(token)\n```\n"
)


def measure(report, options):
    """Add the rows; vocabularies that cannot be had are left out."""
    for label, tokenizer in _vocabularies(report):
        started = time.thread_time()
        cache.trie(tokenizer)
        report.add("grammars", label, "tree of the vocabulary", 1e3 * (time.thread_time() - started), "ms")
        for kind, name, source, text in (
            ("json_schema", "order schema", SCHEMA, json.dumps(ORDER, ensure_ascii=False)),
            ("gbnf", "page in GBNF", GBNF, PAGE),
        ):
            _one(report, options, f"{label}, {name}", tokenizer, kind, source, text)


def _vocabularies(report):
    try:
        yield "49k tokens", Tokenizer(open_path(str(weights.fetch("smollm2"))))
    except weights.Unavailable as problem:
        raise Missing(str(problem)) from None
    from tests.tokens import ggufs
    from tests.tokens.test_bpe import make_qwen3

    try:
        yield "151k tokens", Tokenizer(open_path(str(ggufs.kept("qwen3.json", make_qwen3))))
    except BaseException as problem:  # a skip of the tests' own, where the package cannot be had
        report.note(f"grammars: Qwen3's vocabulary is left out: {problem}")


def _one(report, options, what, tokenizer, kind, source, text):
    """Compile and follow one text, some rounds from nothing, then once more over masks that are there."""
    first, compiled = [], []
    for _ in range(options.rounds):
        cache.trie(tokenizer).grammars.clear()
        started = time.thread_time()
        grammar = compile(kind, source, tokenizer)
        compiled.append(1e3 * (time.thread_time() - started))
        first.append(_follow(grammar, tokenizer, text))
    again = _follow(grammar, tokenizer, text)
    every = sorted(t for round in first for t in round)
    for measure, value, unit, bound, of in (
        ("compile", statistics.median(compiled), "ms", 100, "100 ms"),
        ("mask, median", statistics.median(every), "µs", 300, "0.3 ms"),
        ("mask, 99th percentile", every[int(len(every) * 0.99)], "µs", 2000, "2 ms"),
    ):
        report.add("grammars", what, measure, value, unit, share=value / bound, of=of)
    report.add("grammars", what, "mask seen before, median", statistics.median(again), "µs")


def _follow(grammar, tokenizer, text):
    """Microseconds of processor time that each mask on a text's way took: others at work do not count."""
    matcher, mask, times = grammar.matcher(), ffi.new("uint32_t[]", (tokenizer.n_vocab + 31) // 32), []
    for token in tokenizer.encode(text, add_special=False):
        started = time.thread_time()
        matcher.fill(mask)
        times.append(1e6 * (time.thread_time() - started))
        matcher.accept(token)
    return times
