"""Past tokens, cloning, resetting, masks and log-probabilities: what a sampler remembers and reports."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from llamafile.sampling import Params, Sampler, ffi, lib

RICH = {
    "repeat_penalty": 1.2, "frequency_penalty": 0.1, "dry_multiplier": 0.8, "dry_sequence_breakers": [[3]],
    "xtc_probability": 0.5, "min_p": 0.0,
}  # fmt: skip


def logits_of(seed: int, n: int = 500) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 2, n).astype(np.float32)


def run(sampler: Sampler, count: int = 60) -> list[int]:
    tokens = []
    for i in range(count):
        logits = logits_of(i % 3)
        tokens.append(sampler.sample(logits.ctypes.data))
        sampler.accept(tokens[-1])
    return tokens


@pytest.mark.parametrize("extra", [{}, {"mirostat": 1}, {"mirostat": 2}])
def test_a_clone_goes_on_alike_and_apart(extra):
    sampler = Sampler(Params(seed=5, **RICH, **extra), 500, 256)
    run(sampler)
    twin = sampler.clone()
    assert twin.seed == 5
    assert run(twin) == run(sampler)
    run(twin, 10)
    third = sampler.clone()
    del sampler
    assert run(third) != run(twin), "the two share their state"


@pytest.mark.parametrize("extra", [{}, {"mirostat": 1}, {"mirostat": 2}])
def test_reset_begins_again(extra):
    sampler = Sampler(Params(seed=8, **RICH, **extra), 500, 256)
    first = run(sampler)
    assert run(sampler) != first
    sampler.reset()
    assert run(sampler) == first


def values_after(past, n=8, context=64, **fields):
    """Each candidate's log-probability less that of token n - 1, which nothing has touched."""
    logits = np.linspace(2, -2, n).astype(np.float32)
    both = []
    for calls in ([past], [[token] for token in past]):  # all at once, and one by one
        sampler = Sampler(Params(seed=1, temperature=1.0, **fields), n, context)
        for tokens in calls:
            sampler.accept_all(tokens)
        sampler.sample(logits.ctypes.data)
        both.append(dict(sampler.drawn_logprobs(0, n)[1]))
    assert both[0] == both[1]
    found = both[0]
    return [round(found[i] - found[n - 1] - 2, 4) for i in range(n)], logits.tolist()


def test_penalties_count_the_last_n_only():
    only = {"samplers": "penalties", "frequency_penalty": 0.25, "presence_penalty": 0.5}
    past = [4, 0, 0, 1, 0]
    plain = values_after([], **only)[0]
    every = {0: 3, 1: 1, 4: 1}
    for last_n, counts in {0: {}, 2: {1: 1, 0: 1}, 4: {0: 3, 1: 1}, -1: every, 64: every}.items():
        found = values_after(past, repeat_last_n=last_n, **only)[0]
        expected = [p - (0.5 + 0.25 * counts[i] if i in counts else 0) for i, p in enumerate(plain)]
        assert found == pytest.approx(expected, abs=2e-4), last_n


def test_a_window_is_never_longer_than_the_context():
    only = {"samplers": "penalties", "frequency_penalty": 1.0, "repeat_last_n": 2**31 - 1}
    assert values_after([0, 1, 2, 3], context=2, **only) == values_after([2, 3], context=9, **only)
    assert values_after([0, 1, 2, 3, 1], context=3, **only) == values_after([2, 3, 1], context=9, **only)


def test_repeat_penalty_lowers_both_signs():
    found, logits = values_after([0, 6], samplers="penalties", repeat_penalty=2.0)
    assert found[0] == pytest.approx(logits[0] / 2, abs=1e-4)
    assert found[6] == pytest.approx(logits[6] * 2, abs=1e-4)


def test_dry_grows_with_the_repetition():
    """The published formula: multiplier * base ** (length - allowed length) off whatever would prolong the match."""
    only = {"samplers": "dry", "dry_multiplier": 0.5, "dry_base": 2.0, "dry_sequence_breakers": [[5]]}
    plain = values_after([], **only)[0]
    for past, penalty in {
        (1, 2, 0): 0, (2, 0, 1, 2): 0, (1, 2, 0, 1, 2): 0.5, (3, 1, 2, 0, 3, 1, 2): 1.0,
        (4, 3, 1, 2, 0, 4, 3, 1, 2): 2.0, (4, 5, 1, 2, 0, 4, 5, 1, 2): 0.5, (1, 2, 0, 1, 5, 2): 0,
        (1, 2, 0, 7, 1, 2, 0, 7, 1, 2): 2.0 * 4,
    }.items():  # fmt: skip
        found = values_after(past, **only)[0]
        assert found[0] == pytest.approx(plain[0] - penalty, abs=2e-4), past


def test_dry_long_loops_stay_finite():
    only = {"samplers": "dry", "dry_multiplier": 1e6, "dry_base": 1e6, "dry_sequence_breakers": []}
    found = values_after([0] * 60, **only)[0]
    assert found[0] < -1e37 and found[1:] == values_after([], **only)[0][1:]


def test_strange_tokens_are_refused():
    sampler = Sampler(Params(seed=1, repeat_penalty=1.1), 8, 64)
    for tokens in ([8], [-1], [0, 2**31 - 1], [2**40]):
        with pytest.raises(ValueError, match="outside the vocabulary of 8"):
            sampler.accept_all(tokens)
    sampler.accept_all([])


def test_logprobs_before_are_the_models_own():
    logits = logits_of(9, 5000)
    logits[17] = np.nan
    exact = logits.astype(float) - np.log(np.nansum(np.exp(logits.astype(float))))
    sampler = Sampler(Params(seed=3, top_k=3, temperature=0.1, logit_bias={5: 50.0}), 5000, 64)
    own, found = sampler.logprobs(logits.ctypes.data, 4, 20)
    order = np.argsort(-np.where(np.isnan(exact), -np.inf, exact), kind="stable")[:20]
    assert [i for i, _ in found] == order.tolist()
    np.testing.assert_allclose([p for _, p in found], exact[order], atol=1e-6)
    assert own == pytest.approx(exact[4], abs=1e-6)
    assert sampler.logprobs(logits.ctypes.data, 17, 0) == (-math.inf, [])
    assert len(sampler.logprobs(logits.ctypes.data, 0, 10**6)[1]) == 4999


def test_logprobs_after_are_of_what_was_drawn_from():
    logits = np.log(np.array([0.5, 0.2, 0.2, 0.1])).astype(np.float32)
    sampler = Sampler(Params(seed=3, samplers="top_k", top_k=3), 4, 64)
    with pytest.raises(ValueError, match="no distribution"):
        sampler.drawn_logprobs(0, 1)
    token = sampler.sample(logits.ctypes.data)
    own, found = sampler.drawn_logprobs(token, 2)
    assert [(i, round(math.exp(p), 6)) for i, p in found] == [(0, round(5 / 9, 6)), (1, round(2 / 9, 6))]
    assert sampler.drawn_logprobs(3, 0)[0] == -math.inf
    assert own == sampler.drawn_logprobs(token, 4)[0]
    sampler.logprobs(logits.ctypes.data, 0, 1)
    with pytest.raises(ValueError, match="no distribution"):
        sampler.drawn_logprobs(0, 1)
    greedy = Sampler(Params(temperature=0), 4, 64)
    assert greedy.drawn_logprobs(greedy.sample(logits.ctypes.data), 4) == (0.0, [(0, 0.0)])


def test_mask_words_are_read_to_the_last_bit_only():
    for n in (1, 31, 32, 33, 64, 95, 96, 200):
        logits = np.zeros(n, np.float32)
        sampler = Sampler(Params(seed=1, samplers=[]), n, 64)
        for allowed in {0, n // 2, n - 1}:
            mask = np.zeros((n + 31) // 32, np.uint32)
            mask[allowed // 32] = np.uint32(1) << np.uint32(allowed % 32)
            assert sampler.sample(logits.ctypes.data, mask.ctypes.data) == allowed
            assert sampler.sample(ffi.from_buffer("float[]", logits), ffi.from_buffer("uint32_t[]", mask)) == allowed


def test_ignore_eos_bans_every_end():
    logits = np.array([0, 9, 9, 1], np.float32)
    assert Sampler(Params(ignore_eos=True, temperature=0), 4, 8, eog=[1, 2]).sample(logits.ctypes.data) == 3
    assert Sampler(Params(ignore_eos=False, temperature=0), 4, 8, eog=[1, 2]).sample(logits.ctypes.data) == 1


@pytest.mark.parametrize(("fields", "microseconds"), [
    ({}, 200), ({"temperature": 0.0}, 200), ({"repeat_penalty": 1.1, "logit_bias": {3: 1.0}}, 400),
    ({"top_k": 0}, 2000), ({"mirostat": 2}, 3000),
])  # fmt: skip
def test_time_of_a_choice_of_151936(fields, microseconds):
    """The best of fifty counts, with room for a slow machine: such a model's token takes 15,000 or more."""
    logits = np.random.default_rng(1).normal(0, 2.5, 151_936).astype(np.float32)
    logits[:20] += 14
    sampler = Sampler(Params(seed=1, **fields), len(logits), 4096)
    sampler.accept_all(range(64))
    address, best = ffi.cast("const float *", logits.ctypes.data), math.inf
    for _ in range(50):
        begin = time.process_time()
        lib.lf_sampler_sample(sampler.handle, address, ffi.NULL)
        best = min(best, time.process_time() - begin)
    assert best * 1e6 < microseconds
