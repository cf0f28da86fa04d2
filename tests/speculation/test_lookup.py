"""The index of n-grams against a plain search through the text, and what it learns from tokens that come."""

from __future__ import annotations

import random
import time

import pytest

from llamafile.speculation.lookup import CANDIDATES, LONGEST, Lookup


def searched(text: list[int], size: int) -> tuple[int, int]:
    """The place after an earlier n-gram like the last one, most alike before it; the latest of several."""
    places = [end for end in range(size, len(text)) if text[end - size : end] == text[-size:]][-CANDIDATES:]
    best, most = -1, 0
    for place in reversed(places):
        same = 0
        while same < min(LONGEST, place) and text[place - same - 1] == text[len(text) - same - 1]:
            same += 1
        if same > most:
            best, most = place, same
    return best, most


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("letters", [2, 4, 30])
def test_the_place_is_the_one_that_a_plain_search_finds(size, letters):
    chance = random.Random(size * 100 + letters)
    text = [chance.randrange(letters) for _ in range(600)]
    for end in range(size + 1, 600, 7):
        lookup = Lookup(size)
        lookup.extend(text[:end])
        place, length = searched(text[:end], size)
        assert (lookup.source, lookup.length) == (place, length)
        most = lookup.guess(40)
        if place < 0:
            assert most == []
            continue
        copied = list(text[:end])  # as if each guess were written before the next one is looked at
        for i in range(40):
            copied.append(copied[place + i])
        assert most == copied[end:]


def test_word_by_word_it_knows_what_it_knows_at_once():
    chance = random.Random(3)
    text = [chance.randrange(3) for _ in range(300)]
    whole, piecewise = Lookup(4), Lookup(4)
    whole.extend(text)
    for token in text:
        piecewise.extend([token])
    assert piecewise.tokens == whole.tokens
    assert piecewise._index == whole._index
    assert piecewise._previous == whole._previous


def test_a_copy_with_a_renamed_word_is_taken_up_behind_it():
    text = list(range(100, 160))
    lookup = Lookup(3)
    lookup.extend([*text, 1, 2, 3, *text[:10]])
    assert lookup.guess(3) == text[10:13]
    lookup.extend([7])  # in the place of text[10]
    assert lookup.guess(3) == []
    lookup.extend([text[11]])
    assert lookup.guess(3) == text[12:15]
    lookup.extend([8])
    lookup.extend([9])
    lookup.extend([text[12]])  # two tokens came in between
    assert lookup.guess(3) == text[13:16]


def test_trust_follows_what_comes_true():
    lookup = Lookup(2)
    chance = random.Random(5)
    for _ in range(60):  # pairs come again and what follows them never does
        lookup.extend([1, 2])
        lookup.extend([chance.randrange(10, 10**6)])
    lookup.extend([1])
    lookup.extend([2])
    assert lookup.length >= 2
    assert lookup.chances(1)[0] < 0.12
    for _ in range(40):
        for token in (5, 6, 7, 8):
            lookup.extend([token])
    assert min(lookup.chances(8)) > 0.9


def test_another_text_is_begun_anew_and_a_longer_one_goes_on():
    lookup = Lookup(2)
    lookup.follow([1, 2, 3, 1, 2])
    assert lookup.guess(1) == [3]
    lookup.follow([1, 2, 3, 1, 2, 3, 1])
    assert lookup.guess(2) == [2, 3]
    lookup.follow([9, 8, 7])
    assert lookup.guess(4) == []
    lookup.follow([])
    assert lookup.tokens == []


def test_a_token_costs_microseconds_in_a_long_context():
    """16,000 tokens and an unlucky text: a hundredth of the fastest model's step, 4 ms, is 40 microseconds."""
    chance = random.Random(1)
    text = [chance.randrange(12) for _ in range(16000)]
    lookup = Lookup(3)
    lookup.extend(text)
    best = 1.0
    for _ in range(20):
        started = time.process_time()
        for token in text[:200]:
            lookup.extend([token])
            lookup.chances(16)
        best = min(best, (time.process_time() - started) / 200)
    assert best < 100e-6, best  # a busy machine's margin
