"""A session keeps what it has, forgets what it is told to, shifts, and says what does not fit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from llamafile.errors import LlamafileError
from tests.engine import opened
from tests.oracles import tiny, tiny_gguf

IDS = tiny.tokens(100)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tiny_gguf.write(tiny.MODELS["llama3"], tmp_path_factory.mktemp("session") / "llama3.gguf")


def fresh(model, ids, **options):
    """f32[vocabulary]: the logits after ids in a new session."""
    with opened.session(model, 128, **options) as session:
        session.sync(ids)
        return opened.rows(session)[0]


def test_sync_keeps_the_common_prefix(path):
    other = [*IDS[:70], *reversed(IDS[70:])]
    with opened.model(path) as model, opened.session(model, 128) as session:
        for ids, evaluated in ((IDS[:80], 80), (IDS, 20), (other, 30), (other[:50], 1), (other[:50], 1), (IDS, 50)):
            before = session.perf["prompt_tokens"] + session.perf["tokens"]
            session.sync(list(ids))
            assert session.tokens == ids
            assert session.perf["prompt_tokens"] + session.perf["tokens"] - before == evaluated
            assert np.array_equal(opened.rows(session)[0], fresh(model, ids))


def test_the_callers_list_stays_the_callers(path):
    ids = list(IDS[:10])
    with opened.model(path) as model, opened.session(model, 128) as session:
        session.sync(ids)
        session.append([5])
        assert ids == IDS[:10]
        assert session.tokens == [*ids, 5]


def test_a_full_context_is_one_line(path):
    with opened.model(path) as model, opened.session(model, 64) as session:
        session.sync(IDS[:64])
        kept = opened.rows(session)
        with pytest.raises(LlamafileError, match="64 cells"):
            session.append([5])
        assert session.tokens == IDS[:64]
        assert np.array_equal(opened.rows(session), kept)


@pytest.mark.parametrize("bad", [-1, tiny.VOCAB, 2**31 - 1])
def test_an_id_outside_of_the_vocabulary_is_refused(path, bad):
    with opened.model(path) as model, opened.session(model, 64) as session:
        with pytest.raises(Exception, match=str(tiny.VOCAB)) as caught:
            session.sync([1, bad, 2])
        assert type(caught.value).__name__ in ("LlamafileError", "RuntimeFault")
        session.truncate(0)
        session.sync(IDS[:5])
        assert np.array_equal(opened.rows(session)[0], fresh(model, IDS[:5]))


@pytest.mark.parametrize("name", ["llama", "llama3", "llama-bias", "qwen2", "qwen2-yarn", "qwen3", "gemma3"])
@pytest.mark.parametrize(("keep", "discard"), [(0, 40), (4, 30), (70, 30), (64, 1)])
def test_shifted_cells_equal_cells_evaluated_at_their_new_place(tmp_path, name, keep, discard):
    """In a model of one layer a cell depends on its token and place alone, so a shift can be checked exactly."""
    single = dataclasses.replace(tiny.MODELS[name], layers=1, window=128 if name == "gemma3" else 0)
    path = tiny_gguf.write(single, tmp_path / "single.gguf")
    left = [*IDS[:keep], *IDS[keep + discard:]]
    with opened.model(path) as model, opened.session(model, 128, cache_types=opened.EXACT) as session:
        session.sync(IDS)
        session.shift(keep, discard)
        assert session.tokens == left
        session.append([7, 8])
        shifted = opened.rows(session)[0]
        expected = fresh(model, [*left, 7, 8], cache_types=opened.EXACT)
        np.testing.assert_allclose(shifted, expected, rtol=0, atol=1e-4)
        unshifted = fresh(model, [*IDS, 7, 8][-128:], cache_types=opened.EXACT)
    if keep + discard < len(IDS):
        assert np.abs(unshifted - expected).max() > 1e-3


@pytest.mark.parametrize(("name", "halves"), [("llama-bias", False), ("gemma3", True), ("qwen2-yarn", True)])
def test_shift_turns_each_layers_keys_by_its_own_table(tmp_path, name, halves):
    """Keys move down and turn back; values only move; layers with another rotation (gemma3's sixth) turn by that."""
    tiny_model, keep, discard = tiny.MODELS[name], 10, 30
    path = tiny_gguf.write(tiny_model, tmp_path / "model.gguf")
    with opened.model(path) as model, opened.session(model, 128, cache_types=opened.EXACT) as session:
        session.sync(IDS)
        before = [cache.reshape(len(IDS), tiny_model.kv_heads, -1) for cache in cells(session)]
        session.shift(keep, discard)
        after = [cache.reshape(len(IDS) - discard, tiny_model.kv_heads, -1) for cache in cells(session)]
    assert len(before) == len(after) == 2 * tiny_model.layers
    for i, (old, new) in enumerate(zip(before, after, strict=True)):
        expected = np.delete(old, range(keep, keep + discard), axis=0)
        if i % 2 == 0:
            expected[keep:] = turned(expected[keep:], -discard * frequencies(tiny_model, i // 2), halves)
        np.testing.assert_allclose(new, expected, rtol=0, atol=2e-5, err_msg=f"cache {i}")


def cells(session):
    """Copies of the used cells of all caches: k0, v0, k1, v1, …"""
    return [np.frombuffer(part, np.float32).copy() for part in session.cells()]


def turned(x, angle, halves):
    """x f32[..., size] with each rotary pair turned by its angle."""
    size = x.shape[-1]
    pair = np.arange(size // 2)
    first, second = (pair, pair + size // 2) if halves else (2 * pair, 2 * pair + 1)
    out = np.empty_like(x)
    out[..., first] = x[..., first] * np.cos(angle) - x[..., second] * np.sin(angle)
    out[..., second] = x[..., first] * np.sin(angle) + x[..., second] * np.cos(angle)
    return out


def frequencies(model, layer):
    """f64[size / 2]: by how much a layer's pairs turn from one place to the next."""
    local = model.gemma and (layer + 1) % 6
    plain = (10000.0 if local else model.theta) ** (-np.arange(0, model.head_size, 2) / model.head_size)
    if model.scaling.get("type") != "yarn":
        return plain if local else plain / model.scaling["factor"]
    # YaRN: pairs that turn 32 times or more over the original context stay, those below one turn are slowed.
    borders = [model.head_size * np.log(model.scaling["original_context_length"] / (turns * 2 * np.pi))
               / (2 * np.log(model.theta)) for turns in (32, 1)]
    low, high = max(np.floor(borders[0]), 0), min(np.ceil(borders[1]), model.head_size - 1)
    slowed = np.clip((np.arange(model.head_size // 2) - low) / max(high - low, 0.001), 0, 1)
    return plain * (1 - slowed) + plain / model.scaling["factor"] * slowed


def test_shift_of_what_is_not_there_is_refused(path):
    with opened.model(path) as model, opened.session(model, 128) as session:
        session.sync(IDS[:20])
        for keep, discard in ((0, 21), (-1, 3), (5, 0), (21, 1)):
            with pytest.raises(LlamafileError):
                session.shift(keep, discard)
        assert session.tokens == IDS[:20]


@pytest.mark.parametrize("cache", ["f32", "f16", "q8_0"])
def test_saved_cells_come_back(tmp_path, cache):
    path = tiny_gguf.write(tiny.MODELS["qwen3"], tmp_path / "qwen3.gguf")
    kept = tmp_path / "cells"
    with opened.model(path) as model:
        with opened.session(model, 128, cache_types=(cache, cache)) as session:
            session.sync(IDS[:90])
            session.save(kept)
            session.append(IDS[90:])
            expected = opened.rows(session)
        with opened.session(model, 256, cache_types=(cache, cache)) as session:
            session.load(kept)
            assert session.tokens == IDS[:90]
            session.sync(IDS)
            assert session.perf["prompt_tokens"] + session.perf["tokens"] == 10
            assert np.array_equal(opened.rows(session), expected)


def test_all_logits_end_in_the_last_tokens(path):
    with opened.model(path) as model, opened.session(model, 128, all_logits=True) as session:
        rows = opened.feed(session, IDS, 64)
        assert np.array_equal(rows[-1], fresh(model, IDS))
        assert np.array_equal(rows[41], fresh(model, IDS[:42]))


def test_two_sessions_of_one_model_do_not_meet(path):
    with opened.model(path) as model, opened.session(model, 64) as a, opened.session(model, 64) as b:
        for i in range(30):
            a.append([IDS[i]])
            b.append([IDS[60 - i]])
        assert np.array_equal(opened.rows(a)[0], fresh(model, IDS[:30]))
        assert np.array_equal(opened.rows(b)[0], fresh(model, IDS[60:30:-1]))
