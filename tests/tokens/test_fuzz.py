"""Random and hostile vocabularies under the sanitizers: never a crash, and the ids that plain Python finds."""

from __future__ import annotations

import itertools
import random

import pytest

from llamafile._native import lib

from . import driver as drivers
from .oracles import BYTE, CONTROL, NORMAL, UNKNOWN, UNUSED, USER, byte_alphabet

ALPHABET = byte_alphabet()
WHOLE_WORDS = {lib.lf_pre_number(name) for name in (b"llama-bpe", b"llama3", b"llama-v3", b"falcon3")}
LETTERS = "aab b'é的☃1.\n"
OK, MEMORY, CUT, BIG, COLLIDE = 0, 1, 3, 4, 5


def plain_bpe(word, known, ranks):
    """Merge one word as slowly and plainly as can be; return token texts."""
    parts = [c for c in word if c in known]
    while True:
        pairs = [(ranks[a, b], i) for i, (a, b) in enumerate(itertools.pairwise(parts)) if (a, b) in ranks]
        if not pairs:
            return parts
        _, at = min(pairs)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]


def random_merges(chance, letters):
    """Return merges over a few letters, in a random order that no training would give."""
    made, merges = list(letters), {}
    for _ in range(chance.randint(0, 120)):
        pair = chance.choice(made), chance.choice(made)
        merges[pair] = None
        made.append("".join(pair))
    order = list(merges)
    chance.shuffle(order)
    return order


def random_bytes(chance, size):
    return bytes(chance.choices(b"aab ' \xc3\xa9\xe7\x9a\x84\xe2\x98\x83\xf0\x9f\x98\x80\xff\x80\0\n<x>1", k=size))


def check_bpe(driver, chance):
    """Compare with plain merging, words being cut by the driver's own pre-tokenizer, which has tests of its own."""
    letters = "".join(sorted({ALPHABET[b] for b in LETTERS.encode()}))
    merges = random_merges(chance, letters)
    tokens = list(dict.fromkeys([*letters, *(a + b for a, b in merges)]))
    chance.shuffle(tokens)
    pre = chance.randrange(20)
    joined = [f"{a} {b}".encode() for a, b in merges]
    assert driver.open(drivers.BPE, [t.encode() for t in tokens], pre=pre, merges=joined,
                       width=chance.choice((4, 8))) == OK
    ranks = {pair: i for i, pair in enumerate(merges)}
    known = {t: i for i, t in enumerate(tokens)}
    whole = pre in WHOLE_WORDS
    for _ in range(20):
        text = "".join(chance.choices(LETTERS, k=chance.choice((3, 20, 150)))) + chance.choice(("", "a" * 300))
        want = []
        for word in driver.split(pre, text):
            word = "".join(ALPHABET[b] for b in word.encode())
            want += [word] if whole and word in known else plain_bpe(word, known, ranks)
        code, ids, data = driver.encode(text.encode())
        assert (code, ids) == (OK, [known[t] for t in want])
        assert data == text.encode()


def hostile_strings(chance):
    """Return strings that may be anything: empty, equal, huge, no UTF-8."""
    choice = (b"", b"a", b" ", b"a b", b"<x>", b"<0x41>", b"<0xZZ>", b"\xe2\x96\x81", b"\xe2\x96", b"\xff", b"\xc4\xa0",
              b"\xc8\x80", b"\xc7\xbf",
              b"a" * chance.choice((4095, 4096, 4097, 9000)), bytes(chance.choices(range(256), k=chance.randint(1, 9))))
    return [chance.choice(choice) for _ in range(chance.randint(0, 80))]


def check_hostile(driver, chance):
    """Open nonsense, or cut or overwritten arrays; whatever opens must encode anything and detokenize it."""
    model = chance.choice((drivers.BPE, drivers.SPM))
    tokens, merges, width = hostile_strings(chance), hostile_strings(chance), chance.choice((4, 8))
    kinds = [chance.choice((NORMAL, NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE, 0, -1, 99)) for _ in tokens]
    scores = [chance.choice((0.0, -0.0, float("nan"), float("inf"), -float("inf"), -3.5)) for _ in tokens]
    arrays = [list(a) for a in (drivers.strings(tokens, width), drivers.strings(merges, width),
                                drivers.packed("f", scores), drivers.packed("i", kinds))]
    for _ in range(chance.choice((0, 0, 1, 3))):
        array = chance.choice(arrays)
        data, at = bytearray(array[1]), chance.randrange(len(array[1]) + 1)
        data[at : at + chance.randint(0, 9)] = chance.choice((b"", b"\xff" * 8, b"\1", bytes(8)))
        array[1] = bytes(data)
        array[0] = chance.choice((array[0], array[0], 0, len(tokens) + 1, 2**31, 2**32 - 1))
    code = driver.open_raw(model, arrays, pre=chance.randrange(20), unknown=chance.choice((-1, 0, 5, 2**31 - 1)),
                           prefix=chance.randint(0, 1), trim=chance.randint(0, 1), width=width)
    assert code in range(6)
    for size in (0, 1, 7, 200) if not code else ():
        code, ids, _ = driver.encode(random_bytes(chance, size), chance.random() < 0.5)
        assert code == OK and all(0 <= i < len(tokens) + 1 for i in ids)


@pytest.mark.parametrize(("check", "count"), [(check_bpe, 200), (check_hostile, 1500)])
def test_random_vocabularies(driver, check, count):
    for seed in range(count):
        check(driver, random.Random(seed))


@pytest.mark.long
@pytest.mark.parametrize("check", [check_bpe, check_hostile])
def test_ten_thousand_vocabularies(driver, check):
    for seed in range(1000, 11000):
        check(driver, random.Random(seed))


def test_counts_beyond_the_data(driver):
    one = drivers.strings([b"a"])
    none = (0, b"")
    for arrays in (((2, one[1]), none, none, none), ((1, one[1][:-1]), none, none, none),
                   ((1, b"\xff" * 8), none, none, none), (one, (1, b"\2"), none, none),
                   (one, none, none, (1, b"\1\0\0"))):
        assert driver.open_raw(drivers.BPE, arrays) == CUT
    assert driver.open_raw(drivers.BPE, ((2**32 - 1, one[1]), none, none, none)) == BIG
    assert driver.open_raw(drivers.SPM, (one, none, (1, b"\0\0\0"), none)) == CUT
    assert driver.open_raw(drivers.BPE, (none, none, none, none)) == OK
    assert driver.encode(b"anything")[:2] == (OK, [])


def test_odd_scores(driver):
    """Both zeros are one score, so that the left pair is first; NaN comes last, whatever its sign."""
    tokens = [b"a", b"b", b"ab", b"ba"]
    nan, inf = float("nan"), float("inf")
    left_first, right_first = [2, 0], [0, 3]
    for left, right, want in ((0.0, -0.0, left_first), (-0.0, 0.0, left_first), (-1.0, 1.0, right_first),
                              (nan, -9e9, right_first), (-nan, -inf, right_first), (inf, 1e38, left_first),
                              (nan, -nan, left_first), (-nan, nan, left_first)):
        assert driver.open(drivers.SPM, tokens, scores=[0.0, 0.0, left, right]) == OK
        assert driver.encode(b"aba")[:2] == (OK, want)


def test_specials_do_not_cut_characters(driver):
    tokens = [*(t.encode() for t in ALPHABET), b"\xc3", b"\xa9", b"\x98\x83x", b"\xe2", "é".encode()]
    for pre in range(20):
        assert driver.open(drivers.BPE, tokens, pre=pre, kinds=[NORMAL] * 256 + [USER] * 5) == OK
        for text in ("éa☃xé", "☃", "x☃"):
            code, ids, data = driver.encode(text.encode())
            assert (code, data) == (OK, text.encode()) and not {256, 257, 258, 259} & {*ids}


def test_equal_tokens_do_not_take_for_ever(driver):
    assert driver.open(drivers.BPE, [b"a"] * 100_000, merges=[b"a a"] * 100_000) == OK
    assert driver.encode(b"a")[1] == [99_999]


def test_colliding_tokens_are_refused(driver):
    """Texts whose polynomial hashes are equal modulo 2^64 whatever the base: Thue and Morse's words."""
    def word(n, a, b):
        return a if not n else word(n - 1, a, b) + word(n - 1, b, a)

    blocks = word(11, b"x", b"y"), word(11, b"y", b"x")
    tokens = [b"".join(blocks[n >> i & 1] for i in range(10)) for n in range(1024)]
    assert driver.open(drivers.BPE, tokens, merges=[]) == COLLIDE


def test_long_runs_are_not_quadratic(driver):
    letters = sorted({ALPHABET[b] for b in "a的".encode()})
    merges = [f"{'a' * n} {'a' * n}".encode() for n in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)]
    tokens = [t.encode() for t in letters] + [m.replace(b" ", b"") for m in merges]
    assert driver.open(drivers.BPE, tokens, merges=merges) == OK
    assert len(driver.encode(b"a" * 1_000_000)[1]) == 1_000_000 // 4096 + (1_000_000 % 4096).bit_count()
    assert driver.open(drivers.SPM, tokens, scores=[-float(i) for i in range(len(tokens))]) == OK
    assert driver.encode(b"a" * 1_000_000)[0] == OK
    assert driver.encode(b" " * 1_000_000)[0] == OK


def test_user_defined_runs_are_not_quadratic(driver):
    """A text of nothing but starts of special tokens."""
    tokens = [b"a", *(b"<" * n + b"x" for n in range(1, 200))]
    assert driver.open(drivers.BPE, tokens, kinds=[NORMAL] + [USER] * 199) == OK
    assert driver.encode(b"<" * 200_000)[:2] == (OK, [])


def test_every_allocation_may_fail(driver):
    letters = sorted({ALPHABET[b] for b in "a b\u0301".encode()})
    tokens, merges = [t.encode() for t in [*letters, "ab", "<x>"]], [b"a b"]
    kinds = [NORMAL] * (len(tokens) - 1) + [CONTROL]
    text = ("ab " * 300 + "a" * 200 + "<x>b\u0301").encode() + b"\xff"
    for model, pre in ((drivers.BPE, lib.lf_pre_number(b"qwen2")), (drivers.BPE, 1), (drivers.SPM, 0)):
        codes = []
        for count in range(60):
            driver.fail_after(count)
            code = driver.open(model, tokens, pre=pre, merges=merges, kinds=kinds, scores=[0.0] * len(tokens))
            code = code or driver.encode(text)[0]
            driver.fail_after(None)
            codes.append(code)
        assert codes[0] == MEMORY and codes[-1] == OK and set(codes) == {OK, MEMORY}
        assert codes.index(OK) > 12
