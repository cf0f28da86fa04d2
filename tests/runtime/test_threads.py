"""The pool of threads: any number of them, switched between runs, with the same bits."""

from __future__ import annotations

import numpy as np
import pytest

from runtime import nodes, threads
from runtime._core import ffi, lib
from runtime.ops import RuntimeFault
from tests.engine import opened
from tests.oracles import tiny, tiny_gguf

from . import simulated

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


@pytest.mark.parametrize(("count", "n"), [(1, 3), (1, 40), (2, 64), (4, 64), (3, 17)])
def test_every_unit_is_taken_once(count, n, tmp_path, monkeypatch):
    """Of every product in every step, however many of the threads work, whoever comes first."""
    path = tiny_gguf.write(tiny.MODELS["llama3"], tmp_path / "m.gguf", "Q4_0")
    monkeypatch.setattr("runtime.nodes.layout", lambda: simulated.nodes(count, 64 // count))
    log = ffi.new("lf_taking[]", 1 << 16)
    with opened.model(path, n_threads=n, n_threads_batch=max(2, n // 3)) as model, opened.session(model, 64) as session:
        for ids in (IDS[:40], IDS[40:41], IDS[41:42], IDS[42:50], IDS[50:51]):
            lib.lf_pool_watch(model.pool.handle, log, len(log))
            session.append(ids)
            taken = log[0 : lib.lf_pool_watch(model.pool.handle, ffi.NULL, 0)]
            by_op: dict[tuple[int, int], list[int]] = {}
            for t in taken:
                assert 0 <= t.thread < model.pool.threads
                by_op.setdefault((t.op, t.n), []).append(t.unit)
            assert len(by_op) > 10
            for (op, units), seen in by_op.items():
                assert sorted(seen) == list(range(units)), (op, len(ids))


def dealt(pool, n, order):
    """The unit that each thread of `order` gets when they ask one after the other, until nobody gets any."""
    units = [ffi.new("lf_units *", {"n": n}) for _ in range(pool.threads)]
    return [(thread, lib.lf_pool_deal(pool.handle, thread, 0, units[thread])) for thread in order]


def test_each_node_reads_its_own_rows_and_then_helps():
    """Four nodes of two threads, 40 units: ten of each node; one alone at work takes all, its own first."""
    pool = threads.Pool(8, plan=nodes.plan(8, "distribute", nodes=simulated.nodes(4, 2)))
    try:
        for thread, unit in dealt(pool, 40, list(range(8)) * 4):
            assert unit // 10 == thread % 4
        pool.use(7), pool.use(8)
        alone = [unit for _, unit in dealt(pool, 40, [5] * 40)]
        # What each of the others begins with waits for it; all else goes to the one that asks.
        assert [unit // 10 for unit in alone[:9]] == [1] * 9
        assert sorted(set(alone) - {40}) == sorted(set(range(40)) - {10, 0, 1, 20, 21, 30, 31})
        pool.use(2)
        assert [unit // 20 for _, unit in dealt(pool, 40, [0, 1] * 8)] == [0, 1] * 8, "two threads, half each"
    finally:
        pool.close()


def test_slow_cores_take_less():
    """Every other core is half as fast: it asks half as often, and no work is left when the fast ones are done."""
    pool = threads.Pool(8, plan=nodes.plan(8, "distribute", nodes=simulated.nodes(2, 4)))
    try:
        order = [t for _ in range(12) for t in (0, 1, 4, 5, 0, 1, 2, 3, 4, 5, 6, 7)]
        count = dict.fromkeys(range(8), 0)
        for thread, unit in dealt(pool, 72, order):
            count[thread] += unit < 72
        assert sum(count.values()) == 72
        assert all(count[t] in (11, 12, 13) for t in (0, 1, 4, 5)) and all(count[t] in (5, 6, 7) for t in (2, 3, 6, 7))
    finally:
        pool.close()


def test_there_is_at_least_one_core():
    assert threads.physical_cores() >= 1
