"""A draft model: what it guesses is what it would write by itself, and the text stays the target's."""

from __future__ import annotations

import pytest

from llamafile.errors import LlamafileError
from llamafile.model import Model
from llamafile.sampling import Params
from llamafile.serving import Request
from llamafile.speculation import draft_model
from llamafile.speculation.wishes import Wishes
from tests.engine import opened
from tests.oracles import tiny, tiny_gguf
from tests.serving import driving
from tests.speculation.seers import Free

CTX = 256
LONG = tiny.tokens(200)
MORE = {"ignore_eos": True}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("draft")
    return {name: tiny_gguf.write(tiny.MODELS[name], folder / f"{name}.gguf", "Q8_0") for name in ("llama3", "qwen3")}


def greedy(path, text, count):
    """What a model writes by itself, its end token not among it."""
    with opened.model(path) as model:
        return driving.alone(model, Request(text, Params(temperature=0.0), n_predict=count), 2 * CTX)


def test_it_guesses_what_it_would_write(files):
    """Texts of several seats in one pass; texts that grow as guessed, otherwise, and anew."""
    draft = draft_model.DraftModel(Model.open(str(files["qwen3"])), 2 * CTX, 3)
    try:
        texts = [LONG[:70], LONG[10:15], LONG[:128]]
        for growth in (0, 3, 3, 1):
            for i, text in enumerate(texts):
                wanted = greedy(files["qwen3"], text, 8)
                text += [*wanted[: growth - 1], LONG[i]][:growth]
            guesses = draft.guess([(i, text, 6, 0.0) for i, text in enumerate(texts)])
            for text, (ids, strengths) in zip(texts, guesses, strict=True):
                assert ids == greedy(files["qwen3"], text, 6)
                assert len(strengths) == len(ids)
                assert all(0 <= strength <= 9 for strength in strengths)
        fresh = list(LONG[:33])
        assert draft.guess([(1, fresh, 4, 0.0)])[0][0] == greedy(files["qwen3"], fresh, 4)
        assert draft.guess([(1, fresh, 4, 1.0)]) == [([], [])]
    finally:
        draft.close()


def test_a_text_longer_than_its_context_is_known_by_its_end(files):
    draft = draft_model.DraftModel(Model.open(str(files["qwen3"])), 64, 1)
    try:
        text = list(LONG[:190])
        assert draft.guess([(0, text, 8, 0.0)])[0][0] == greedy(files["qwen3"], text[-32:], 8)
        text += LONG[:20]
        assert draft.guess([(0, text, 8, 0.0)])[0][0] == greedy(files["qwen3"], text[-52:], 8)
    finally:
        draft.close()


@pytest.mark.parametrize("name", ["llama3", "qwen3"])  # the target itself, and a model that knows nothing of it
def test_the_text_is_the_targets(files, name):
    params = [Params(temperature=0.0, **MORE), driving.warm(1, **MORE), driving.warm(2, repeat_penalty=1.3, **MORE)]
    asked = [Request(LONG[: 30 + 40 * i], p, n_predict=60) for i, p in enumerate(params)]
    draft = draft_model.DraftModel(Model.open(str(files[name])), CTX, 3)
    with opened.model(files["llama3"]) as model:
        expected = [driving.alone(model, request, CTX) for request in asked]
        try:
            wishes = Wishes(False, draft)
            with driving.scheduler(model, n_ctx=3 * CTX, n_parallel=3, wishes=wishes) as made:
                made._stepper.ahead.costs = Free()
                results = driving.run(made, *asked)
        finally:
            draft.close()
    assert [result.tokens for result in results] == expected
    assert results[0].timings["draft_n"] > 0
    if name == "llama3":  # greedy: its guesses are always right but behind the end
        assert results[0].timings["draft_n"] - results[0].timings["draft_n_accepted"] <= 16
        assert results[0].timings["draft_n_accepted"] > 30


def test_another_vocabulary_is_refused_in_one_line(files, smollm2, tmp_path):
    with opened.model(files["llama3"]) as target, opened.model(smollm2) as draft, \
            pytest.raises(LlamafileError, match=r"^-md: .*another vocabulary than .*take a small model"):
        draft_model.check(draft, target)
    with opened.model(files["llama3"]) as target, opened.model(files["qwen3"]) as draft:
        draft_model.check(draft, target)
        listed = draft.file.keys["tokenizer.ggml.tokens"]
        data = bytearray(files["qwen3"].read_bytes())
        data[data.index(b"ea", listed.offset)] = ord("q")  # a token that is no control token
        other = tmp_path / "other.gguf"
        other.write_bytes(data)
    with opened.model(files["llama3"]) as target, opened.model(other) as draft, \
            pytest.raises(LlamafileError, match="another text for token"):
        draft_model.check(draft, target)
