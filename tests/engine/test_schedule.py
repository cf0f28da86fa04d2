"""The order of ops and the barriers left out: nothing is read before it is written, or written under a reader."""

from __future__ import annotations

import pytest

import llamafile.lower as lowering
from llamafile import schedule
from runtime import program
from tests.engine import opened
from tests.oracles import tiny, tiny_gguf


@pytest.fixture(scope="module")
def lowered(tmp_path_factory):
    """Each tiny model's ops before and after they are put in order, and what its letters may be."""
    folder, seen = tmp_path_factory.mktemp("schedule"), {}

    def give(name, kind):
        if (name, kind) not in seen:
            path = tiny_gguf.write(tiny.MODELS[name], folder / f"{name}.{kind}.gguf", kind)
            with pytest.MonkeyPatch.context() as patch:
                found = {}
                order, pack = schedule.order, lowering._pack
                patch.setattr(schedule, "order", lambda ops: order(found.setdefault("before", list(ops))))

                def keep(image, tensors, ops, pieces=None):
                    found.update(after=list(ops), letters=image.maximum)
                    pack(image, tensors, ops, pieces)

                patch.setattr(lowering, "_pack", keep)
                with opened.model(path) as model, opened.session(model, 256):
                    seen[name, kind] = found
        return seen[name, kind]

    return give


CASES = [(name, kind) for name in tiny.MODELS for kind in ("Q4_0", "F16", "BF16")]


def spans(tensors, letters):
    """Which bytes of which home each of some tensors lies in."""
    for t in tensors:
        whole = schedule.root(t)
        if whole.home in (program.ARENA, program.CACHE):
            yield whole.home, whole.offset, whole.offset + lowering.bytes_of(whole, letters)


def collide(some, others):
    """Whether two collections of stretches of memory share a byte."""
    return any(a[0] == b[0] and a[1] < b[2] and b[1] < a[2] for a in some for b in others)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_ops_without_a_barrier_between_them_share_no_memory_that_one_writes(lowered, name, kind):
    found = lowered(name, kind)
    letters, group, together = found["letters"], [], 0
    for op in found["after"]:
        reads = list(spans([t for t in op.inputs if t is not None], letters))
        writes = list(spans(op.outputs, letters))
        for other_reads, other_writes in group:
            assert not collide(writes, other_reads + other_writes), op.op.name
            assert not collide(reads, other_writes), op.op.name
        group.append((reads, writes))
        if not op.flags:
            together += len(group) > 1
            assert len(group) <= schedule.TOGETHER
            group = []
    # Products of BF16 weights may use the memory that all threads share, so they meet.
    assert together >= tiny.MODELS[name].layers * (1 if kind == "BF16" else 2)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_every_op_still_follows_what_it_depends_on(lowered, name, kind):
    found = lowered(name, kind)
    before, after = found["before"], {op: i for i, op in enumerate(found["after"])}
    assert set(before) == set(after)
    for i, op in enumerate(before):
        reads, writes = schedule.touched(op)
        for earlier in before[:i]:
            its_reads, its_writes = schedule.touched(earlier)
            if reads & its_writes or writes & (its_reads | its_writes):
                assert after[earlier] < after[op], (earlier.op.name, op.op.name)


def test_a_layer_of_a_llama_meets_nine_times(lowered):
    """Norm; Q, K, V; rotations and stores; attention; its integers; output; norm; gate, up, activation; down."""
    ops = [op for op in lowered("llama3", "Q4_0")["after"] if op.layer == 1]
    assert sum(not op.flags for op in ops) == 9, [op.op.name for op in ops]
