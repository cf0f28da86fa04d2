"""Regular expressions: the texts that Python's re matches as a whole, for patterns made at random."""

from __future__ import annotations

import random
import re

import pytest

from llamafile.errors import LlamafileError
from llamafile.grammar import compile

from .walks import may

pytestmark = pytest.mark.models

PARTS = ["a", "b", "é", r"\d", r"\w", "[a-c]", "[^ab]", r"[\d\-x]", r"\.", ".", r"\s", r"\x41", "-"]


def pattern(chance, depth=0):
    if depth > 2 or chance.random() < 0.5:
        return chance.choice(PARTS)
    kind = chance.randrange(4)
    inner = "".join(pattern(chance, depth + 1) for _ in range(chance.randint(1, 3)))
    if kind == 0:
        return f"(?:{inner}|{pattern(chance, depth + 1)})"
    if kind == 1:
        return f"({inner}){chance.choice(['*', '+', '?', '{2}', '{1,3}', '{2,}', '*?', '+?'])}"
    return inner


def test_as_python_matches(smol):
    chance, seen = random.Random(2), {True: 0, False: 0}
    for _ in range(250):
        text = pattern(chance)
        grammar, theirs = compile("regex", text, smol), re.compile(text, re.ASCII)
        for _ in range(30):
            word = "".join(chance.choices("ab\u00e91 xA.-c", k=chance.randint(0, 6)))
            expected = theirs.fullmatch(word) is not None
            assert may(grammar.matcher(), word.encode()) is expected, (text, word)
            seen[expected] += 1
    assert min(seen.values()) > 200


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("(a", "column 1: this group is not closed"),
        ("a)", "column 2: there is no parenthesis to close"),
        ("[a", "column 1: this class is not closed"),
        ("[b-a]", "column 5: this range ends before it begins"),
        ("*a", "column 1: there is nothing before * to repeat"),
        ("a**", "column 3: a repetition cannot be repeated"),
        (r"(a)\1", r"column 4: \1 is not known here"),
        (r"\bx", r"column 1: \b is not known here"),
        ("(?<!a)b", "column 1: only plain groups are known: no looking around, no conditions, no flags"),
        ("a(^b)", "^ and $ are known at the ends of the pattern only"),
        ("a{3,2}", "column 2: the repetition asks for too much"),
        ("x" * 20_000, "has 20000 characters; at most 8192 are read"),
    ],
)
def test_what_is_not_served(text, problem, smol):
    with pytest.raises(LlamafileError) as caught:
        compile("regex", text, smol)
    assert str(caught.value) == f"regex: {problem}"
