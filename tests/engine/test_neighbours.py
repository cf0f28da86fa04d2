"""The arena's plan: no op writes where one of the three before it reads, nor over what is still wanted."""

from __future__ import annotations

import numpy as np

from llamafile.lower import NEIGHBOURS, plan_arena
from runtime import program
from tests.runtime.machine import LETTERS, Machine


def test_neighbouring_ops_may_be_done_at_once():
    rng, machine = np.random.default_rng(5), Machine()
    values = [machine.op("scale", rng.normal(0, 1, (n, 64)).astype("f4"), by=1.0) for n in (3, 3, 9)]
    for _ in range(60):  # many short lives of different sizes, and some long ones
        a = values[int(rng.integers(max(0, len(values) - 6), len(values)))]
        same = [v for v in values[-6:] if v.shape == a.shape]
        values.append(machine.op("add", a, same[int(rng.integers(len(same)))]))
        values.append(machine.op("scale", values[-1], by=2.0))
    ops = machine.ops
    size = plan_arena(machine.tensors, ops, LETTERS)

    def span(tensor):
        return range(tensor.offset, tensor.offset + int(np.prod(tensor.shape)) * 4)

    def apart(a, b):
        return span(a).stop <= span(b).start or span(b).stop <= span(a).start

    last = {t.index: i for i, op in enumerate(ops) for t in (*op.inputs, *op.outputs)}
    reused = 0
    for i, op in enumerate(ops):
        assert span(op.outputs[0]).stop <= size
        for j, other in enumerate(ops[:i]):
            out = other.outputs[0]
            if last[out.index] >= i or last[out.index] >= i - NEIGHBOURS:
                assert apart(op.outputs[0], out), (i, j)
            reused += not apart(op.outputs[0], out)
        for before in ops[max(0, i - NEIGHBOURS) : i]:
            assert all(apart(op.outputs[0], t) for t in before.inputs if t.home == program.ARENA)
    assert reused > 20  # places are used again nevertheless
