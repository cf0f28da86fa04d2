"""GBNF: what is read, what is refused and where, and the same tokens allowed as a prebuilt llama.cpp allows."""

from __future__ import annotations

import base64
import json
import random
import subprocess
import sys
import time

import numpy as np
import pytest

from llamafile.errors import LlamafileError
from llamafile.grammar import compile
from tests import weights
from tests.oracles.llama_cpp import ensure

from .walks import Masks, may

ARITHMETIC = r"""
root ::= (expr "=" ws term "\n"){1,3}  # a few lines
expr ::= term ([-+*/] term)*
term ::= ident | num | "(" ws expr ")" ws
ident ::= [a-z] [a-z0-9_]{0,6} ws
num ::= [0-9]+ ws
ws ::= [ \t\n]{0,4}
"""
LIST = 'root ::= item+\nitem ::= "- " [^\\r\\n\\x0b\\x0c\\x85\\u2028\\u2029]+ "\\n"\n'
CHESS = r"""
root ::= "1. " move " " move "\n" ([1-9] [0-9]? ". " move " " move "\n")+
move ::= (pawn | nonpawn | castle) [+#]?
nonpawn ::= [NBKQR] [a-h]? [1-8]? "x"? [a-h] [1-8]
pawn ::= ([a-h] "x")? [a-h] [1-8] ("=" [NBKQR])?
castle ::= "O-O" "-O"?
"""
JAPANESE = "root ::= jp+ ([ \\t\\n] jp+)*\njp ::= [ぁ-ゟ] | [ァ-ヿ] | [、-〾] | [一-鿋]\n"
JSON = r"""
root ::= object
value ::= object | array | string | number | ("true" | "false" | "null") ws
object ::=
  "{" ws (
            string ":" ws value
    ("," ws string ":" ws value)*
  )? "}" ws
array ::= "[" ws ( value ("," ws value)* )? "]" ws
string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
ws ::= | " " | "\n" [ \t]{0,20}
"""
NESTED = 'root ::= "a" root "b" | (. "c"){2,3} | "é"? "\\U0001F600"'
GRAMMARS = {
    "arithmetic": ARITHMETIC,
    "list": LIST,
    "chess": CHESS,
    "japanese": JAPANESE,
    "json": JSON,
    "nested": NESTED,
    "words": 'root ::= [a-z]+ (" " [a-z]+)+',
    "yes": 'root ::= "yes" | "no"',
}


@pytest.fixture(scope="module")
def theirs(smol):
    """For each grammar: a random walk, and the ids that llama.cpp allows at each step."""
    try:
        folder = ensure()
    except weights.Unavailable as problem:
        pytest.skip(str(problem))
    walks = {}
    for name, text in GRAMMARS.items():
        chance, matcher, masks = np.random.default_rng(len(name)), compile("gbnf", text, smol).matcher(), Masks(smol)
        ids = []
        for _ in range(14):
            allowed = [i for i in masks.ids(matcher) if i not in smol.eog]
            if not allowed:
                break
            ids.append(int(chance.choice(allowed)))
            matcher.accept(ids[-1])
        walks[name] = ids
    job = {
        "library": str(folder),
        "model": str(weights.fetch("smollm2")),
        "cases": [[GRAMMARS[name], ids] for name, ids in walks.items()],
    }
    command = [sys.executable, "-m", "tests.grammar.llama_cpp_worker"]
    done = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    answers = json.loads(done.stdout)
    return {name: (ids, answer) for (name, ids), answer in zip(walks.items(), answers, strict=True)}


@pytest.mark.models
@pytest.mark.parametrize("name", GRAMMARS)
def test_allows_what_llama_cpp_allows(name, theirs, smol):
    ids, answer = theirs[name]
    matcher, masks = compile("gbnf", GRAMMARS[name], smol).matcher(), Masks(smol)
    # Texts of control tokens are text to llama.cpp; here a control token comes by a token terminal alone. U+0000 never
    # comes there.
    text = [i for i in range(smol.n_vocab) if not smol.is_control(i) and not smol.piece(i).startswith(b"\0")]
    for step, packed in enumerate(answer):
        expected = set(np.flatnonzero(np.unpackbits(np.frombuffer(base64.b64decode(packed), np.uint8)))) & set(text)
        got = set(masks.ids(matcher)) & set(text)
        # Half a character is refused by llama.cpp wherever some character that begins so is: it may yet become another.
        strange = [(smol.piece(int(i)), i in got) for i in got ^ expected if i in expected or whole(smol.piece(int(i)))]
        assert not strange, f"after {smol.detokenize(ids[:step])!r}: {strange[:8]}"
        if step < len(ids):
            matcher.accept(ids[step])
    assert len(answer) == len(ids) + 1 > 1


def whole(piece):
    try:
        piece.decode()
    except UnicodeDecodeError as wrong:
        return wrong.reason != "unexpected end of data"
    return True


def accepts(text, tokenizer, *words):
    matcher = compile("gbnf", text, tokenizer).matcher()
    return [may(matcher, word.encode("utf-8", "surrogatepass")) for word in words]


@pytest.mark.models
def test_notation(smol):
    assert accepts('root ::= "a"{2} "b"{2,} "c"{,2} "d"{0,1}', smol, "aabb", "aabbbccd", "abb", "aabbccc") == [
        True,
        True,
        False,
        False,
    ]
    assert accepts(
        'root ::= [a-c-]* | [^a-z\\]]+ | "\\x41\\u00e9\\U0001F600\\"\\\\\\t"',
        smol,
        "ab-c",
        "]",
        "AB",
        'Aé😀"\\\t',
        "b]",
    ) == [True, False, True, True, False]
    assert accepts("root ::= .", smol, "x", "é", "\n", "😀", "", "xx") == [True, True, True, True, False, False]
    assert accepts('root ::= (a | b)+ # c\na ::= "x"?\n\n\nb::="yy"\n', smol, "", "xyyx", "xy") == [True, True, False]
    assert accepts('root ::= "a"\n  | "b"\n  | ("c"\n "d")\n', smol, "a", "b", "cd", "c") == [True, True, True, False]
    assert accepts('root ::= root "a" | "b"', smol, "b", "baaa", "ab") == [True, True, False]  # left recursion
    assert accepts('root ::= ("a"{100}){100} "b"', smol, "a" * 10**4 + "b", "a" * 9999 + "b") == [True, False]


@pytest.mark.models
def test_token_terminals(smol):
    end = smol.token_id("<|im_start|>")
    grammar = compile("gbnf", f'root ::= "a" <|im_start|> | "b" <[{end}]> "c" | !<|im_start|> "z"', smol)
    masks, matcher = Masks(smol), grammar.matcher()
    first = set(masks.ids(matcher))
    assert end not in first and smol.token_id("q") in first and not first & smol.eog
    assert len(first) > 49_000  # any token but that one
    a, b, c, z = (smol.token_id(t) for t in "abcz")
    matcher.accept(a)
    assert set(masks.ids(matcher)) >= {end, z}
    matcher.accept(end)
    assert matcher.finished
    matcher.reset()
    matcher.accept(b)
    matcher.accept(end)
    assert list(masks.ids(matcher)) == [c]
    with pytest.raises(ValueError, match="does not follow"):
        matcher.accept(a)
    matcher.accept(c)
    assert matcher.finished


@pytest.mark.models
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('root ::= "a', "line 1, column 10: this text is not closed on its line"),
        ("root ::= [a-", "line 1, column 10: this class is not closed on its line"),
        ("root ::= [z-a]", "line 1, column 11: this range ends before it begins"),
        ("root ::= a\nb ::= c", "line 1, column 10: rule 'a' is not defined"),
        ('a ::= "x"', "has no rule named root; the text begins with that one"),
        ('root ::= "a"\nroot ::= "b"', "line 2, column 1: rule 'root' is defined twice"),
        ('root ::= "a" )', "line 1, column 14: expected an expression or the end of the line"),
        ('root ::= ("a"', "line 1, column 10: this parenthesis is not closed"),
        ("root ::= *", "line 1, column 10: there is nothing before * to repeat"),
        ('root ::= "a"{3,1}', "line 1, column 13: the repetition asks for more at least than at most"),
        ('root ::= "a"{x}', "line 1, column 13: expected a repetition such as {2}, {2,} or {2,4}"),
        ('root ::= "a"{99999999999}', "line 1, column 13: a repetition can ask for 2147483646 at most"),
        ('root ::= "\\q"', "line 1, column 11: \\q is no escape that GBNF knows"),
        ('root ::= "\\x4"', "line 1, column 11: \\x needs 2 hexadecimal digits"),
        ('root ::= "\\ud800"', "line 1, column 11: this is no character of Unicode"),
        ("root ::= <|nosuch|>", "line 1, column 10: the vocabulary has no token <|nosuch|>"),
        ("root ::= <[49152]>", "line 1, column 10: the vocabulary has no token <[49152]>"),
        ("root ::= !x", "line 1, column 10: expected a token such as <[123]> or <|end|>"),
        ("root = x", "line 1, column 6: expected ::="),
        ("\n\n  %", "line 3, column 3: expected a rule's name"),
        ("root ::= []", "line 1, column 10: this class is empty"),
        ("root ::= root", "matches no text at all"),
        ('root ::= a "x"\na ::= "(" a ")"', "matches no text at all"),
        ("", "has no rule named root; the text begins with that one"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text, problem, smol):
    with pytest.raises(LlamafileError) as caught:
        compile("gbnf", text, smol)
    assert str(caught.value) == f"grammar: {problem}"


@pytest.mark.models
def test_any_text_is_read_or_refused(smol):
    chance, parts = (
        random.Random(3),
        [
            "root ::= ",
            "a ::= ",
            '"x"',
            "[a-z]",
            "[^",
            "(",
            ")",
            "|",
            "*",
            "{2,3}",
            "\n",
            "#",
            "<[5]>",
            "!",
            "\\x",
            "a",
            " ",
            "{",
            "é",
            "::=",
            '"',
            "]",
            "-",
        ],
    )
    read = 0
    for _ in range(3000):
        text = "root ::= " + "".join(chance.choices(parts, k=chance.randint(0, 9)))
        try:
            matcher = compile("gbnf", text, smol).matcher()
        except LlamafileError as problem:
            assert "\n" not in str(problem)
            continue
        read += 1
        matcher.accept_bytes(b"x")
    assert read > 100


HOSTILE = {
    "1 MB": ('root ::= "' + "x" * 1_000_000 + '"', "has 1000011 characters; at most 262144 are read"),
    "deep": (
        "root ::= " + "(" * 5000 + '"a"' + ")" * 5000,
        "line 1, column 91: parentheses are nested more than 80 deep",
    ),
    "circles": (
        "root ::= a0\n" + "".join(f"a{i} ::= a{i + 1} a{i + 1}\n" for i in range(999)) + "a999 ::= a0",
        "matches no text at all",
    ),
    "any characters": ("root ::= " + "." * 250_000, "has more than 25000 parts; make it simpler"),
    "a class of many": ("root ::= [" + "é" * 250_000 + "]", "has more than 25000 parts; make it simpler"),
    "classes": ("root ::= " + "[^é]" * 7_000, "is too large; make it simpler"),
    "rules of nothing": (
        "root ::= a0\n" + "".join(f"a{i} ::= a{i + 1} a{i + 1}\n" for i in range(3000)) + 'a3000 ::= "x"?',
        "has too many ways to begin",
    ),
}


@pytest.mark.models
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_grammars_are_refused_at_once(name, smol):
    compile("gbnf", 'root ::= ""', smol)  # the tree of the vocabulary is there
    times = []
    for _ in range(3):  # as another process's work in the same core's caches counts too
        started = time.process_time()
        with pytest.raises(LlamafileError) as caught:
            compile("gbnf", HOSTILE[name][0], smol)
        times.append(time.process_time() - started)
    assert str(caught.value) == f"grammar: {HOSTILE[name][1]}"
    assert min(times) < 0.5, times  # 0.08 s on an idle machine


@pytest.mark.models
def test_laughs_without_end_cost_nothing(smol):
    """Rules that double each other, counts of counts, chains of empties: opened at once, and followed."""
    laughs = "".join(f"a{i} ::= a{i + 1} a{i + 1}\n" for i in range(60)) + 'a60 ::= "ha"\n'
    counts = 'root ::= ((("a"{1000}){1000}){1000} | "b"?{900000000})*\n'
    empties = (
        "root ::= " + " ".join(f"e{i}" for i in range(400)) + "\n" + "".join(f'e{i} ::= "x"?\n' for i in range(400))
    )
    for text, word in ((f"root ::= a0\n{laughs}", b"hahaha"), (counts, b"aaabb"), (empties, b"xxx")):
        started = time.process_time()
        matcher = compile("gbnf", text, smol).matcher()
        matcher.accept_bytes(word)
        masks = Masks(smol)
        assert len(masks.ids(matcher))
        assert time.process_time() - started < 0.5, text[:40]
