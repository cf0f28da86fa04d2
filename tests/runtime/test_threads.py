"""The pool of threads: any number of them, switched between runs, with the same bits."""

from __future__ import annotations

import numpy as np
import pytest

from runtime import threads
from runtime.ops import RuntimeFault
from tests.engine import opened
from tests.oracles import tiny, tiny_gguf

IDS = tiny.tokens(60)


def test_switching_between_runs(tmp_path):
    """Workers that sat out many jobs, or come late, neither miss one nor run one twice."""
    path = tiny_gguf.write(tiny.MODELS["llama3"], tmp_path / "m.gguf")
    with opened.model(path, n_threads=1) as model, opened.session(model, 64) as session:
        session.sync(IDS)
        expected = opened.rows(session)
    with opened.model(path, n_threads=1, n_threads_batch=5) as model, opened.session(model, 64) as session:
        for _ in range(30):
            session.truncate(0)
            session.append(IDS[:20])
            for i in IDS[20:23]:
                session.append([i])
            for n in (2, 5, 3):
                model.n_threads = n
                session.append([IDS[len(session.tokens)]])
            session.append(IDS[26:])
            assert np.array_equal(opened.rows(session), expected)


def test_too_many_threads_are_refused():
    for n in (-1, 1 << 20):
        with pytest.raises(RuntimeFault, match="fewer with -t"):
            threads.Pool(n)


def test_there_is_at_least_one_core():
    assert threads.physical_cores() >= 1
