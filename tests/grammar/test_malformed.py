"""What C is given is checked: networks with numbers that point nowhere are refused, any others are walked safely."""

from __future__ import annotations

import random

import pytest

from llamafile._native import lib
from llamafile.errors import LlamafileError
from llamafile.grammar import Grammar, cache
from llamafile.grammar.network import Network

from .walks import Masks

pytestmark = pytest.mark.models


def network(nodes, rules=(0,), sets=(), counts=(), tokens=(), ids=()):
    made = Network()
    made.nodes = type(made.nodes)("I", [n for node in nodes for n in node])
    made.rules, made.sets = list(rules), bytearray(b"".join(s.to_bytes(32, "little") for s in sets))
    made.counts.extend(n for c in counts for n in c)
    made.tokens.extend(n for t in tokens for n in t)
    made.ids.extend(ids)
    return made


END, BYTES, CALL, TOKEN, SPLIT, COUNT = (
    lib.LF_NODE_END,
    lib.LF_NODE_BYTES,
    lib.LF_NODE_CALL,
    lib.LF_NODE_TOKEN,
    lib.LF_NODE_SPLIT,
    lib.LF_NODE_COUNT,
)
GOOD = [(END, 0, 0), (BYTES, 0, 0)]


@pytest.mark.parametrize(
    "bad",
    [
        network([]),
        network([(BYTES, 0, 0)], sets=[1]),
        network([*GOOD, (7, 0, 0)], sets=[1]),
        network([*GOOD, (BYTES, 1, 0)], sets=[1]),
        network([*GOOD, (BYTES, 0, 3)], sets=[1]),
        network([*GOOD, (CALL, 1, 0)], sets=[1]),
        network([*GOOD, (SPLIT, 9, 0)], sets=[1]),
        network([*GOOD, (TOKEN, 0, 0)], sets=[1]),
        network([*GOOD, (COUNT, 0, 0)], sets=[1]),
        network(GOOD, (2,), [1]),
        network(GOOD, (), [1]),
        network(GOOD, (1,), [1], counts=[(5, 0, 1)]),
        network(GOOD, (1,), [1], counts=[(0, 3, 1)]),
        network(GOOD, (1,), [1], tokens=[(0, 1, 0)]),
        network(GOOD, (1,), [1], tokens=[(0, 1, 0)], ids=[49_152]),
        network(GOOD, (1,), [1], ids=[-1]),
        network(GOOD, (1,), [1], counts=[(0, 0, 2**32 - 1)]),
    ],
)
def test_numbers_that_point_nowhere(bad, smol):
    with pytest.raises(LlamafileError, match="is malformed"):
        Grammar(bad, cache.trie(smol))


def test_random_networks(smol):
    """Calls, splits and counts in any circle: opened or refused, filled and followed, always within bounds."""
    chance, masks, opened = random.Random(11), Masks(smol), 0
    for _ in range(250):
        n, rules = chance.randint(2, 12), chance.randint(1, 4)
        nodes = [(END, 0, 0)] + [
            (chance.choice([BYTES, BYTES, CALL, SPLIT, COUNT, TOKEN, END]), chance.randrange(2), chance.randrange(n))
            for _ in range(n - 1)
        ]
        nodes = [
            (k, chance.randrange(n) if k == SPLIT else chance.randrange(rules) if k == CALL else a, f)
            for k, a, f in nodes
        ]
        letters = [
            sum(1 << chance.randrange(97, 123) for _ in range(3)) | chance.getrandbits(256) * (chance.random() < 0.2)
            for _ in range(2)
        ]
        counts = [
            (chance.randrange(rules), a, a + chance.choice([0, 1, 70, lib.LF_NO_LIMIT - a]))
            for a in (chance.choice([0, 1, 2, 60]) for _ in range(2))
        ]
        made = network(
            nodes, [chance.randrange(n) for _ in range(rules)], letters, counts, [(0, 2, 0), (1, 1, 1)], [5, 300]
        )
        try:
            matcher = Grammar(made, cache.trie(smol)).matcher()
        except LlamafileError as problem:
            assert "matches no text" in str(problem)
            continue
        opened += 1
        try:
            for _ in range(4):
                ids = [i for i in masks.ids(matcher) if i not in smol.eog]
                if not ids:
                    break
                matcher.accept(int(chance.choice(ids)))
        except LlamafileError as problem:
            assert "ambiguous" in str(problem)
    assert opened > 60
