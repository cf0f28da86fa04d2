"""The engine's threads under the thread sanitizer: whole tiny models, by one token and by many."""

from __future__ import annotations

import pytest

from tests import sanitized
from tests.engine import opened
from tests.oracles import tiny, tiny_gguf

from . import simulated

UNDER_TSAN = sanitized.kind == "races"


@pytest.mark.skipif(UNDER_TSAN, reason="this is the process that looks for races")
def test_no_races():
    done = sanitized.run_for_races("tests/runtime/test_races.py")
    assert not done.returncode, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert "ThreadSanitizer" not in done.stderr and "10 passed, 1 skipped" in done.stdout


@pytest.mark.skipif(not UNDER_TSAN, reason="runs in a process of its own, by test_no_races")
@pytest.mark.parametrize("kind", ["Q4_0", "BF16"])
@pytest.mark.parametrize("name", ["llama3", "qwen2", "gemma3", "mixtral"])
def test_tokens(name, kind, tmp_path):
    """Steps of one token and of many, in turns: the pool works for them with different numbers of threads."""
    path = tiny_gguf.write(tiny.MODELS[name], tmp_path / "model.gguf", kind)
    ids = tiny.tokens(24)
    with opened.model(path, n_threads=2, n_threads_batch=3) as model, opened.session(model, 64) as session:
        for count in (12, 13, 14, 20, 21, 24):
            session.sync(ids[:count])


@pytest.mark.skipif(not UNDER_TSAN, reason="runs in a process of its own, by test_no_races")
@pytest.mark.parametrize("kind", ["Q4_0", "F16"])
def test_nodes(kind, tmp_path, monkeypatch):
    """The same on nodes with a share each: threads that take from others' shares, and nodes that sit out a step."""
    monkeypatch.setattr("runtime.nodes._online", lambda root: [0, 1, 2])
    monkeypatch.setattr("runtime.nodes.layout", lambda: simulated.nodes(3, 2))
    path = tiny_gguf.write(tiny.MODELS["llama3"], tmp_path / "model.gguf", kind)
    ids = tiny.tokens(24)
    with opened.model(path, n_threads=2, n_threads_batch=7) as model, opened.session(model, 64) as session:
        assert model.pool.plan.groups == [0, 1, 2, 0, 1, 2, 0]
        for count in (12, 13, 14, 20, 21, 24):
            model.n_threads = 2 + count % 4
            session.sync(ids[:count])
