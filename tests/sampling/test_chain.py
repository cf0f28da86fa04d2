"""Every step, every order: the candidates, their probabilities and the choice equal the plain reference's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from llamafile.errors import LlamafileError
from llamafile.sampling import Params, Sampler

from .reference import Reference

INF = float("inf")


def row(seed: int, n: int, spread: float, ties: bool, strange: bool):
    """Logits: bell-shaped, perhaps on a coarse grid so that many are equal, perhaps with NaN and infinities."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, spread, n)
    if ties:
        values = np.round(values)
    if strange:
        values[rng.random(n) < 0.2] = -np.inf
        values[rng.random(n) < 0.1] = np.nan
    if not (values > -np.inf).any():
        values[int(rng.integers(n))] = 0.5
    return values.astype(np.float32)


rows = st.builds(row, st.integers(0, 2**32 - 1), st.integers(1, 300), st.sampled_from([0.0, 0.3, 1.0, 3.0, 12.0]),
                 st.booleans(), st.booleans())  # fmt: skip

pasts = st.lists(st.integers(0, 5), max_size=60)

settings_of_steps = st.fixed_dictionaries({
    "temperature": st.sampled_from([-1.0, 0.0, 0.3, 0.8, 1.0, 2.5]),
    "dynatemp_range": st.sampled_from([0.0, 0.0, 0.5, 3.0]),
    "dynatemp_exponent": st.sampled_from([0.5, 1.0, 2.0]),
    "top_k": st.sampled_from([-1, 0, 1, 2, 7, 40, 200, 1000]),
    "top_p": st.sampled_from([0.0, 0.1, 0.5, 0.9, 0.95, 1.0]),
    "min_p": st.sampled_from([0.0, 0.001, 0.05, 0.5, 1.0]),
    "typical_p": st.sampled_from([0.0, 0.2, 0.7, 1.0]),
    "top_n_sigma": st.sampled_from([-1.0, 0.5, 1.0, 3.0]),
    "xtc_probability": st.sampled_from([0.0, 0.5, 1.0]),
    "xtc_threshold": st.sampled_from([0.0, 0.01, 0.1, 0.4, 0.6]),
    "repeat_penalty": st.sampled_from([0.9, 1.0, 1.3]),
    "presence_penalty": st.sampled_from([-0.5, 0.0, 1.5]),
    "frequency_penalty": st.sampled_from([-0.1, 0.0, 0.7]),
    "repeat_last_n": st.sampled_from([-1, 0, 3, 64]),
    "dry_multiplier": st.sampled_from([0.0, 0.8]),
    "dry_penalty_last_n": st.sampled_from([-1, 0, 9]),
    "dry_allowed_length": st.sampled_from([0, 1, 2, 4]),
    "dry_sequence_breakers": st.sampled_from([(), ([1],), ([1, 2], [0])]),
    "min_keep": st.sampled_from([0, 0, 1, 5]),
    "seed": st.integers(0, 2**32 - 2),
})  # fmt: skip


def check_against_reference(logits, chain, fields, past, rounds=3, **given):
    """Run both samplers a few tokens and compare the choice, the set and the probabilities; skip what is too close."""
    params = Params(samplers=list(chain), **fields)
    if given.get("bias"):
        params.logit_bias = given["bias"]
    ours, plain = Sampler(params, len(logits), 50), Reference(params, chain, past, 50)
    plain.size = len(logits)
    ours.accept_all(past)
    bits = given.get("mask")
    words = None if bits is None else np.packbits(np.resize(bits, -(-len(bits) // 32) * 32), bitorder="little")
    for _ in range(rounds):
        expected = plain.sample(logits, **given)
        slack = 2e-5 + 1e-6 * np.abs(plain.values).max()  # a cold temperature makes big values, rounded to float
        assume(plain.closest > slack)
        before = logits.copy()
        token = ours.sample(logits.ctypes.data, None if words is None else words.ctypes.data)
        own, found = ours.drawn_logprobs(token, len(logits))
        assert token == expected
        assert [i for i, _ in found] == plain.ids.tolist()
        with np.errstate(divide="ignore"):
            logprobs = np.log(plain.probabilities())
        likely = logprobs > -50
        np.testing.assert_allclose(np.array([p for _, p in found])[likely], logprobs[likely], rtol=1e-5, atol=slack)
        assert own == dict(found)[token]
        assert np.array_equal(before, logits, equal_nan=True), "the caller's logits were changed"
        ours.accept(token)
        plain.past.append(token)


@settings(max_examples=400, deadline=None)
@given(rows, st.permutations("edskypmxt"), st.integers(0, 9), settings_of_steps, pasts)
def test_any_order_equals_the_reference(logits, order, length, fields, past):
    past = [t for t in past if t < len(logits)]
    check_against_reference(logits, "".join(order[:length]), fields, past)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from("edskypmxt"), rows, settings_of_steps, pasts)
def test_each_step_alone_equals_the_reference(letter, logits, fields, past):
    past = [t for t in past if t < len(logits)]
    check_against_reference(logits, letter + "t", fields, past)


@settings(max_examples=200, deadline=None)
@given(rows, settings_of_steps, st.sampled_from([1, 2]), st.sampled_from([0.5, 2.0, 5.0]), st.sampled_from(["", "edt"]))
def test_mirostat_equals_the_reference(logits, fields, version, tau, chain):
    fields = {**fields, "mirostat": version, "mirostat_tau": tau}
    check_against_reference(logits, chain, fields, [t for t in (0, 1, 2, 0, 1) if t < len(logits)], rounds=6)


@settings(max_examples=100, deadline=None)
@given(rows, settings_of_steps, st.data())
def test_bias_and_mask_equal_the_reference(logits, fields, data):
    n = len(logits)
    bits = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    added = st.sampled_from([-INF, -2.0, 3.0, 100.0])
    bias = data.draw(st.dictionaries(st.integers(0, n - 1), added, max_size=5))
    banned = {token for token, number in bias.items() if number == -INF}
    left = [i for i in range(n) if bits[i] and logits[i] > -np.inf and i not in banned]
    assume(left)
    check_against_reference(logits, "edskypmxt", fields, [], bias=bias, mask=bits)


def twins(logits, chain, **fields):
    """What a chain does with all logits where they lie, and with a sorted list of the same ones: must be one thing."""
    base = Params(samplers=list(chain), **fields)
    listed = Params(samplers=["m", *chain], **{**fields, "min_p": 1e-300})  # keeps everything, as a list
    for params in (base, listed):
        sampler = Sampler(params, len(logits), 64)
        tokens = [sampler.sample(logits.ctypes.data) for _ in range(4)]
        yield tokens, sampler.drawn_logprobs(tokens[-1], len(logits))


@settings(max_examples=300, deadline=None)
@given(rows, settings_of_steps, st.sampled_from(["t", "p", "k", "s", "y", "x", "xt", "tp", "ty", "xp", "tk", "xs"]))
def test_dense_and_list_agree_to_the_bit(logits, fields, chain):
    fields = {**fields, "min_p": 0.0, "min_keep": 0}
    assume(fields["dynatemp_range"] == 0 or "t" not in chain)  # an entropy is a sum whose order matters
    assume(fields["top_n_sigma"] <= 0 or "s" not in chain)
    dense, listed = twins(logits, chain, **fields)
    assert dense == listed


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("fields", [
    {}, {"temperature": 0.0}, {"top_k": 0}, {"top_k": 1000}, {"top_k": 0, "top_p": 1.0}, {"top_k": 5000, "min_p": 0.0},
    {"top_k": 0, "typical_p": 0.7}, {"top_n_sigma": 1.5}, {"mirostat": 1}, {"mirostat": 2},
    {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "xtc_probability": 1.0},
])  # fmt: skip
def test_a_big_vocabulary_equals_the_reference(seed, fields):
    logits = row(seed, 151_936 + seed, 2.5, ties=bool(seed & 1), strange=bool(seed & 2))
    logits[[1000 * seed, 7, 77777]] = 14, 13, 12
    params = Params(seed=seed, **fields)
    ours, plain = Sampler(params, len(logits), 64), Reference(params, "edskypmxt")
    plain.size = len(logits)
    compared = 0
    for _ in range(4):
        plain.closest = np.inf
        expected, token = plain.sample(logits), ours.sample(logits.ctypes.data)
        if plain.closest < 1e-7:  # among so many candidates, one often lies at a threshold
            continue
        _, found = ours.drawn_logprobs(token, len(logits))
        assert (token, [i for i, _ in found]) == (expected, plain.ids.tolist())
        compared += 1
    assert compared


def pick(logits, mask=None, **fields):
    logits = np.asarray(logits, np.float32)
    sampler = Sampler(Params(seed=1, **fields), len(logits), 64)
    token = sampler.sample(logits.ctypes.data, mask)
    return token, [i for i, _ in sampler.drawn_logprobs(token, len(logits))[1]]


def test_exact_thresholds_belong_to_the_kept_side():
    assert pick([0] * 4, samplers="top_p", top_p=0.5)[1] == [0, 1]
    assert pick([0] * 4, samplers="top_p", top_p=0.500001)[1] == [0, 1, 2]
    assert pick([0] * 5, samplers="top_k;top_p", top_k=4, top_p=0.5)[1] == [0, 1]
    assert pick([0] * 4, samplers="min_p", min_p=1.0)[1] == [0, 1, 2, 3]
    assert pick([0] * 4, samplers="xtc", xtc_probability=1.0, xtc_threshold=0.25)[1] == [3]
    assert pick([0] * 4, samplers="typ_p", typical_p=0.5)[1] == [0, 1, 2]  # the mass must exceed it
    assert pick([1, 1, 0], samplers="top_p", top_p=0.0)[1] == [0]


def test_ties_go_to_the_lower_id():
    assert pick([1, 3, 3, 3, 0], temperature=0)[0] == 1
    assert pick([0.0, -0.0, -0.0], samplers="top_k", top_k=2)[1] == [0, 1]
    assert pick([-0.0, 0.0, 0.0], samplers="top_k", top_k=2)[1] == [0, 1]
    assert pick([5.0] * 200, samplers="top_k", top_k=70)[1] == list(range(70))
    # Of three equals above the entropy only some fit: those with the lower ids stay.
    logits = np.log(np.array([0.2, 0.2, 0.2] + [0.05] * 8))
    assert pick(logits, samplers="typ_p", typical_p=0.3)[1] == [0, 1]


def test_strange_logits_have_a_defined_meaning():
    nan = float("nan")
    assert pick([nan, 1.0, nan], temperature=0)[0] == 1
    assert pick([nan, -INF, -1e38], top_p=0.5) == (2, [2])
    assert pick([0.0, INF, 3.0, INF], temperature=0)[0] == 1
    assert pick([3e38, -3e38, INF], samplers="temperature", temperature=0.01)[1] == [0, 2, 1]
    assert pick([1e30, 2e30, -INF], samplers="temperature", temperature=1e-5)[0] == 1
    for hopeless in ([nan, nan], [-INF] * 70):
        with pytest.raises(LlamafileError, match="every token is ruled out"):
            pick(hopeless)
    with pytest.raises(LlamafileError, match="every token is ruled out"):
        pick([1.0, 2.0], logit_bias={0: False, 1: -INF})


def test_a_block_far_below_hides_no_other():
    logits = np.repeat(np.array([0, -100, 0, -100, 0], np.float32), 64)
    sampler = Sampler(Params(seed=1, samplers=[]), len(logits), 8)
    token = sampler.sample(logits.ctypes.data)
    assert np.isclose(sampler.drawn_logprobs(token, 0)[0], -np.log(192), rtol=0, atol=1e-12)
    assert np.isclose(sampler.logprobs(logits.ctypes.data, 70, 0)[0], -100 - np.log(192), rtol=0, atol=1e-9)


def test_greedy_whatever_the_chain_says():
    logits = np.random.default_rng(3).normal(0, 3, 1000).astype(np.float32)
    for chain in ("", "top_k", "temperature;top_p", "edskypmxt"):
        assert pick(logits, samplers=chain, temperature=0.0) == (int(logits.argmax()), [int(logits.argmax())])
    assert pick(logits, mirostat=2, temperature=-1.0)[0] == int(logits.argmax())
