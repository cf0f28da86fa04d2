"""However the work is cut (batches, threads, reuse), the logits are the same bit for bit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from runtime import cpu
from tests.engine import opened
from tests.oracles import tiny, tiny_gguf
from tests.oracles.make_greedy import load
from tests.runtime import simulated

LONG = tiny.tokens(200)  # several pages of the cache, and many windows
CUTS = (1, 8, 33, 64)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Every tiny model in Q4_0, whose kernels quantise activations."""
    folder = tmp_path_factory.mktemp("bits")
    return {name: tiny_gguf.write(model, folder / f"{name}.gguf", "Q4_0") for name, model in tiny.MODELS.items()}


@pytest.mark.parametrize("set_name", cpu.available())
@pytest.mark.parametrize("name", tiny.MODELS)
def test_batches(files, name, set_name):
    with opened.isa(set_name):
        whole = opened.run(files[name], LONG, cache=("f16", "f16"))
        for step in CUTS:
            assert np.array_equal(whole, opened.run(files[name], LONG, step=step, cache=("f16", "f16"))), step
    assert np.isfinite(whole).all()


@pytest.mark.parametrize("name", tiny.MODELS)
def test_threads(files, name):
    one = opened.run(files[name], LONG, n_threads=1)
    for n in (2, 3, 7):
        assert np.array_equal(one, opened.run(files[name], LONG, n_threads=n)), n


@pytest.mark.parametrize("kind", ["Q4_0", "Q8_0", "F16", "BF16"])
@pytest.mark.parametrize("name", ["llama3", "mixtral"])
def test_many_threads_on_several_nodes(name, kind, tmp_path, monkeypatch):
    """More threads than most products have turns, in groups with a share each; also some of them alone."""
    path = tiny_gguf.write(tiny.MODELS[name], tmp_path / "m.gguf", kind)
    one = opened.run(path, LONG[:150], n_threads=1)
    for nodes, n, n_batch in ((2, 64, 64), (4, 64, 24), (3, 17, 96), (1, 40, 64)):
        monkeypatch.setattr("runtime.nodes.layout", lambda nodes=nodes: simulated.nodes(nodes, 64 // nodes))
        with opened.model(path, n_threads=n, n_threads_batch=n_batch) as model:
            assert max(model.pool.plan.groups) > 0
            with opened.session(model, 150, cache_types=opened.EXACT, all_logits=True) as session:
                cuts = (0, 130, 131, 135, 150)
                parts = [opened.feed(session, LONG[a:b], b - a) for a, b in itertools.pairwise(cuts)]
        assert np.array_equal(one, np.concatenate(parts)), (nodes, n)


@pytest.mark.parametrize("name", ["llama3", "gemma3"])
def test_the_size_of_the_context_does_not_matter(files, name):
    with opened.model(files[name]) as model:
        answers = []
        for n_ctx in (len(LONG), 256, 4096):
            with opened.session(model, n_ctx) as session:
                session.sync(LONG)
                answers.append(opened.rows(session))
    assert np.array_equal(answers[0], answers[1])
    assert np.array_equal(answers[0], answers[2])


@pytest.mark.models
def test_smollm2_batches_and_threads(smollm2):
    """A real model over 255 tokens: by one, by pieces, at once; one thread and two."""
    ids = load("smollm2")["letter"].prompt.tolist()[:255]
    with opened.model(smollm2, n_threads=2) as model:
        answers: dict[object, np.ndarray] = {}
        for step in (1, 8, 33, 512):
            with opened.session(model, 256, n_batch=step) as session:
                session.append(ids)
                answers[step] = opened.rows(session)
    with opened.model(smollm2, n_threads=1) as model, opened.session(model, 256) as session:
        session.append(ids)
        answers["one thread"] = opened.rows(session)
    for how, answer in answers.items():
        assert np.array_equal(answer, answers[512]), how
