"""Programs of several segments that were damaged: C refuses them or runs them, and never crashes."""

from __future__ import annotations

import numpy as np
import pytest

from llamafile.device_cache import Cache
from llamafile.lower import lower
from llamafile.model import Model
from runtime import program
from runtime.ops import RuntimeFault
from tests.gpu import modules
from tests.oracles import tiny, tiny_gguf

LETTERS = {"T": 8, "S": 1, "O": 1, "C": 64, "P": 1}


class Opened:
    """A tiny model, half of it on a card, whose image can be changed before it is opened."""

    def __init__(self, folder):
        path = tiny_gguf.write(tiny.MODELS["llama3"], folder / "model.gguf")
        self.offload = modules.offload(modules.test_module(), 1)
        self.model = Model.open(str(path), offload=self.offload, n_threads=1)

    def image(self):
        self.graph, logits = self.model.graph()
        self.graph.placement = self.offload.place(self.graph, LETTERS)
        return lower(self.graph, logits, LETTERS)

    def run(self, image):
        """Open and run; returns the fault's text or None."""
        cache = Cache(image, self.offload)
        try:
            opened = self.model.program(self.graph, image, cache)
        except RuntimeFault as fault:
            cache.close()
            return str(fault)
        try:
            for i in range(8):
                for name in ("tokens", "positions", "cells"):
                    opened.inputs[name][i] = i
            opened.inputs["starts"][1], opened.inputs["lengths"][0] = 8, 8
            opened.run(**LETTERS)
        except RuntimeFault as fault:
            return str(fault)
        finally:
            opened.close()
            cache.close()
        return None


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    opened = Opened(tmp_path_factory.mktemp("segments"))
    yield opened
    opened.model.close()


def test_a_good_image_runs(half):
    image = half.image()
    assert len(image.segments) == 3 * program.SEGMENT.size  # CPU, card, CPU
    assert half.run(image) is None


@pytest.mark.parametrize(("segment", "field", "value", "says"), [
    (1, 0, 7, "device 7, which does not exist"), (1, 0, 0, "of another device than its segment"),
    (0, 4, 1, "does not follow"), (1, 5, 100000, "does not follow"), (2, 5, 0, "leave ops out"),
    (1, 6, 1 << 30, "outside the pool"), (1, 1, 0, "is not on device 1"), (1, 2, 0, "is not on device 0"),
    (0, 1, 1, "copies from the CPU to itself"), (0, 5, -1, "does not follow"),
])  # fmt: skip
def test_damaged_segments_are_refused(half, segment, field, value, says):
    image = half.image()
    data = bytearray(image.segments)
    fields = list(program.SEGMENT.unpack_from(data, segment * program.SEGMENT.size))
    fields[field] = value
    program.SEGMENT.pack_into(data, segment * program.SEGMENT.size, *fields)
    image.segments = bytes(data)
    assert says in str(half.run(image))


def test_copies_of_what_cannot_be_copied_are_refused(half):
    image = half.image()
    _, n_in, _, _, _, _, copies = program.SEGMENT.unpack_from(image.segments, program.SEGMENT.size)
    assert n_in
    for value in (-1, 1 << 20, 0):  # no tensor, and an input
        pool = np.frombuffer(image.pool, "i4").copy()
        pool[copies] = value
        changed = half.image()
        changed.pool = pool.tobytes()
        assert "copies tensor" in str(half.run(changed))


def test_a_weight_or_cache_that_is_not_there_is_refused(half):
    image = half.image()
    image.device_weights[1] = image.device_weights[1][1:]
    sides = half.offload._weights[0].copy()
    half.offload._weights[0].pop(next(iter(sides)))
    image.device_weights[1] = [w for w in image.device_weights[1] if w[:2] in half.offload._weights[0]]
    assert "was not brought to device 1" in str(half.run(image))
    half.offload._weights[0].update(sides)
    image = half.image()
    image.device_caches = {1: 64}
    assert "outside its home" in str(half.run(image))


def test_random_damage_never_crashes(half):
    rng = np.random.default_rng(6)
    refused = 0
    for _ in range(300):
        image = half.image()
        table = ("segments", "ops", "tensors", "pool")[rng.integers(4)]
        data = bytearray(getattr(image, table))
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(len(data))] = rng.integers(256)
        setattr(image, table, bytes(data))
        refused += half.run(image) is not None
    assert refused > 100
