"""The serving core over cards whose kernels are the CPU's: many at once, shifts, slots in files, the same tokens."""

from __future__ import annotations

import io

import pytest

from llamafile.serving import Request
from tests.engine import opened
from tests.gpu import modules
from tests.oracles import tiny, tiny_gguf
from tests.serving import driving

LONG = tiny.tokens(200)
HARD = {"ignore_eos": True}
REQUESTS = (
    Request(LONG[:70], driving.warm(1, **HARD), n_predict=20),
    Request(LONG[:90], driving.warm(2, **HARD), n_predict=30),
    Request(LONG[:5], driving.warm(3, **HARD), n_predict=40),
    Request(LONG[100:], driving.warm(4, **HARD), n_predict=9),
    Request(LONG[:80], driving.warm(5, **HARD), n_predict=150, context_shift=True, n_keep=4),
)  # fmt: skip


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tiny_gguf.write(tiny.MODELS["llama3"], tmp_path_factory.mktemp("served") / "model.gguf", "Q4_0")


@pytest.fixture(scope="module")
def expected(path):
    """What a session on the CPU writes for each request alone."""
    with opened.model(path) as model:
        return [driving.alone(model, request, 192) for request in REQUESTS]


@pytest.mark.parametrize(("layers", "cards"), [(1, 1), (999, 1), (2, 2)])
@pytest.mark.parametrize("keep_cache", [False, True])
def test_each_gets_what_it_would_get_alone(path, expected, monkeypatch, layers, cards, keep_cache):
    monkeypatch.setenv("LF_TEST_CARDS", str(cards))
    offload = modules.offload(modules.test_module(), layers, cache_on_cpu=keep_cache)
    with opened.model(path, offload=offload) as model, \
            driving.scheduler(model, n_ctx=192, n_parallel=3, n_ubatch=32) as made:  # fmt: skip
        assert [result.tokens for result in driving.run(made, *REQUESTS)] == expected


def test_embeddings_and_slots_in_files(path):
    ask = Request(LONG[:100], driving.warm(7, **HARD), n_predict=10)
    vectors, answers = [], []
    for layers in (0, 1, 999):
        offload = modules.offload(modules.test_module(), layers) if layers else None
        with opened.model(path, offload=offload) as model, \
                driving.scheduler(model, n_ctx=192, n_parallel=2) as made:  # fmt: skip
            vectors.append(driving.run(made, Request(LONG[:20], kind="embedding", pooling="mean"))[0].embedding)
            answers.append(driving.run(made, ask)[0].tokens)
            box = io.BytesIO()
            made.start()
            assert made.ready.wait(60)
            made.save(made.slots()[0]["id"], box)
            box.seek(0)
            made.load(1, box)
    assert vectors[0] == vectors[1] == vectors[2]
    assert answers[0] == answers[1] == answers[2]
