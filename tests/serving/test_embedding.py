"""Embeddings are the last norm's rows, pooled, however the text is cut, and beside running answers."""

from __future__ import annotations

import numpy as np
import pytest

from llamafile.sampling import Params
from llamafile.serving import Request
from tests.engine import opened
from tests.oracles import tiny, tiny_gguf
from tests.oracles.numpy_llama import NumpyModel
from tests.serving import driving

IDS = tiny.tokens(100)
POOL = {
    "none": lambda rows: rows, "mean": lambda rows: rows.mean(0, keepdims=True, dtype="f8"),
    "cls": lambda rows: rows[:1], "last": lambda rows: rows[-1:],
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tiny_gguf.write(tiny.MODELS["qwen2"], tmp_path_factory.mktemp("embedding") / "model.gguf")


@pytest.mark.parametrize("pooling", POOL)
@pytest.mark.parametrize("count", [1, 63, 100])
def test_against_numpy(path, pooling, count):
    expected = POOL[pooling](NumpyModel(path).hidden(IDS[:count]))
    with opened.model(path) as model:
        answers = []
        for n_ubatch in (512, 30, 7):
            with driving.scheduler(model, n_ctx=128, n_ubatch=n_ubatch, cache_types=opened.EXACT) as made:
                result, = driving.run(made, Request(IDS[:count], kind="embedding", pooling=pooling))
                assert (result.tokens_evaluated, result.stop_type, result.text) == (count, "limit", "")
                answers.append(result.embedding)
        assert answers[0] == answers[1] == answers[2]
    np.testing.assert_allclose(np.array(answers[0]), expected, rtol=0, atol=2e-4 * np.abs(expected).max())


def test_beside_answers(path):
    """Embeddings and answers run in the same steps, and neither changes the other's numbers."""
    texts = [Request(IDS[:n], driving.warm(n, ignore_eos=True), n_predict=20) for n in (5, 70)]
    embeddings = [Request(IDS[:n], kind="embedding", pooling=p) for n in (90, 33) for p in ("mean", "last")]
    with opened.model(path) as model:
        with driving.scheduler(model, n_ctx=512, n_parallel=6, n_ubatch=16) as made:
            together = driving.run(made, *embeddings[:2], *texts, *embeddings[2:])
            assert made.tree.available == made.tree.count
        with driving.scheduler(model, n_ctx=512, n_parallel=1) as made:
            for request, result in zip([*embeddings[:2], *texts, *embeddings[2:]], together, strict=True):
                one, = driving.run(made, request)
                assert (one.embedding, one.tokens) == (result.embedding, result.tokens)


def test_an_embedding_that_must_wait_begins_again(path):
    """Six pages: an answer that grows to four of them takes an embedding's away in the middle."""
    with opened.model(path) as model, driving.scheduler(model, n_ctx=256, n_parallel=2, n_ubatch=2) as made:
        answer = driving.Client(made, Request(IDS[:1], driving.warm(1, ignore_eos=True), n_predict=240))
        for _ in range(110):
            made.turn()
        embedding = Request([*IDS, *IDS[:80]], kind="embedding", pooling="mean")
        waiting = driving.Client(made, embedding)
        begun = waited = False
        while waiting.end is None:
            made.turn()
            active = [s.active for s in made.places.sequences() if s.embeds]
            begun |= True in active
            waited |= begun and False in active
        driving.finish(made, [answer, waiting])
        assert waited
        assert driving.run(made, embedding)[0].embedding == waiting.result.embedding


def test_the_models_own_pooling(path, tmp_path):
    """Without a word from the request the file's pooling_type counts, and mean where it has none."""
    with opened.model(path) as model:
        for number, kind in ((None, "mean"), (3, "last"), (2, "cls"), (0, "none")):
            if number is not None:
                model.file.keys["qwen2.pooling_type"] = number
            with driving.scheduler(model, n_ctx=128) as made:
                own, = driving.run(made, Request(IDS[:9], kind="embedding"))
                said, = driving.run(made, Request(IDS[:9], kind="embedding", pooling=kind))
                assert own.embedding == said.embedding
                assert len(own.embedding) == (9 if kind == "none" else 1)


def test_a_whole_context_fits(path):
    with opened.model(path) as model, driving.scheduler(model, n_ctx=100) as made:
        assert len(driving.run(made, Request(IDS, Params(), kind="embedding", pooling="none"))[0].embedding) == 100
