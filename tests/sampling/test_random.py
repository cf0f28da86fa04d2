"""The repeatable random step against numpy's Mersenne Twister, and the frequencies that come of it."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from llamafile.sampling import Params, Sampler

from .reference import Random


def flat_sampler(seed: int, n: int) -> tuple[Sampler, np.ndarray]:
    """Over n equal logits, the token chosen is the draw's first log2(n) bits."""
    return Sampler(Params(seed=seed, samplers=[]), n, 8), np.zeros(n, np.float32)


@pytest.mark.parametrize("seed", [0, 1, 42, 5489, 123456789, 0xFFFFFFFE])
def test_draws_are_numpys_mersenne_twister(seed):
    sampler, logits = flat_sampler(seed, 1024)
    expected = Random(seed)
    for _ in range(2000):  # 4000 words: the state is twisted six times
        assert sampler.sample(logits.ctypes.data) == math.ceil(expected.double() * 1024) - 1


def test_draws_have_the_low_word_first():
    """Twenty bits of each draw, from a twister of the standard library set to the state that the seed makes."""
    state = np.random.RandomState(7).get_state()
    twister = random.Random()
    twister.setstate((3, (*map(int, state[1]), state[2]), None))
    sampler, logits = flat_sampler(7, 1 << 20)
    for _ in range(10):
        low, high = twister.getrandbits(32), twister.getrandbits(32)
        assert sampler.sample(logits.ctypes.data) == math.ceil((low + high * 2**32) / 2**64 * 2**20) - 1


def test_the_published_ten_thousandth_word():
    """C++ fixes the 10,000th word of the default seed 5489 at 4123659995: the high half of the 5000th draw."""
    sampler, logits = flat_sampler(5489, 4096)
    tokens = [sampler.sample(logits.ctypes.data) for _ in range(5000)]
    assert tokens[-1] == 4123659995 >> 20


def test_xtc_acts_as_often_as_its_own_twister_says():
    logits = np.array([2.0, 1.9, -9.0], np.float32)
    sampler = Sampler(Params(seed=99, samplers="xtc", xtc_probability=0.3, xtc_threshold=0.2), 3, 8)
    chance = Random(99)
    for _ in range(3000):
        token = sampler.sample(logits.ctypes.data)
        dropped = sampler.drawn_logprobs(token, 3)[1][0][0] == 1
        assert dropped == (chance.single() <= 0.3)


def chi_square(counts, shares) -> float:
    expected = np.asarray(shares) * np.sum(counts)
    return float(np.sum((counts - expected) ** 2 / expected))


@pytest.mark.parametrize("fields", [
    {"samplers": []},
    {"samplers": "temperature", "temperature": 1.7},
    {"samplers": "top_k;temperature", "top_k": 20},
    {"samplers": "top_p", "top_p": 0.8},
    {},
])  # fmt: skip
def test_frequencies_are_the_probabilities(fields):
    logits = np.random.default_rng(5).normal(0, 1.2, 64).astype(np.float32)
    sampler = Sampler(Params(seed=2024, **fields), 64, 8)
    token = sampler.sample(logits.ctypes.data)
    shares = {i: math.exp(p) for i, p in sampler.drawn_logprobs(token, 64)[1]}
    assert math.isclose(sum(shares.values()), 1, rel_tol=1e-6)
    counts = dict.fromkeys(shares, 0)
    for _ in range(40_000):
        counts[sampler.sample(logits.ctypes.data)] += 1
    freedom = len(shares) - 1
    # The 99.9th percentile of chi-square, by the cube-root rule of Wilson and Hilferty.
    limit = freedom * (1 - 2 / (9 * freedom) + 3.09 * math.sqrt(2 / (9 * freedom))) ** 3
    assert chi_square(np.array(list(counts.values())), list(shares.values())) < limit


def test_a_random_seed_is_reported_and_repeats_the_choices():
    logits = np.zeros(1000, np.float32)
    first, second = (Sampler(Params(seed=seed, samplers=[]), 1000, 8) for seed in (-1, 0xFFFFFFFF))
    assert first.seed != second.seed and 0 <= first.seed < 0xFFFFFFFF
    again = Sampler(Params(seed=first.seed, samplers=[]), 1000, 8)
    assert again.seed == first.seed
    for _ in range(50):
        assert first.sample(logits.ctypes.data) == again.sample(logits.ctypes.data)
