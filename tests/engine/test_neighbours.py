"""The arena's plan: no op writes where one reads that may be running, nor over what is still wanted."""

from __future__ import annotations

import numpy as np
import pytest

from llamafile.arena import NEIGHBOURS, plan_arena
from runtime import program
from tests.runtime.machine import LETTERS, Machine


def at_once(ops, devices):
    """Of each op the first that may still run when it does: one of a few before it, or since threads last met."""
    found, met = [], 0
    for i, op in enumerate(ops):
        found.append(max(0, i - NEIGHBOURS) if devices else met)
        if not op.flags:
            met = i + 1
    return found


@pytest.mark.parametrize("devices", [True, False])
@pytest.mark.parametrize("seed", [5, 6, 7])
def test_nothing_is_written_where_somebody_may_read(devices, seed):
    rng, machine = np.random.default_rng(seed), Machine()
    values = [machine.op("scale", rng.normal(0, 1, (n, 64)).astype("f4"), by=1.0) for n in (3, 3, 9)]
    for _ in range(60):  # many short lives of different sizes, and some long ones
        a = values[int(rng.integers(max(0, len(values) - 6), len(values)))]
        same = [v for v in values[-6:] if v.shape == a.shape]
        values.append(machine.op("add", a, same[int(rng.integers(len(same)))]))
        values.append(machine.op("scale", values[-1], by=2.0))
    ops = machine.ops
    for op in ops:
        op.flags = 0 if devices or rng.integers(2) else program.NO_BARRIER
    size = plan_arena(machine.tensors, ops, LETTERS, devices)

    def span(tensor):
        return range(tensor.offset, tensor.offset + int(np.prod(tensor.shape)) * 4)

    def apart(a, b):
        return span(a).stop <= span(b).start or span(b).stop <= span(a).start

    last = {t.index: i for i, op in enumerate(ops) for t in (*op.inputs, *op.outputs)}
    reused, running = 0, at_once(ops, devices)
    for i, op in enumerate(ops):
        assert span(op.outputs[0]).stop <= size
        for j, other in enumerate(ops[:i]):
            out = other.outputs[0]
            if last[out.index] >= running[i]:
                assert apart(op.outputs[0], out), (i, j)
            reused += not apart(op.outputs[0], out)
        for before in ops[running[i] : i]:
            assert all(apart(op.outputs[0], t) for t in before.inputs if t.home == program.ARENA)
    assert reused > 20  # places are used again nevertheless
