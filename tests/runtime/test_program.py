"""The flat program: its frozen layout, and images that C must refuse instead of crashing."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from llamafile.lower import Image, _pack
from runtime import program
from runtime._core import ffi, lib
from runtime.executor import Memory, Program
from runtime.ops import RuntimeFault
from runtime.threads import Pool

from .machine import Machine


def test_records_are_frozen():
    """Modules compiled from sources of another day read these bytes: a change here is a new ABI."""
    sizes = [program.TENSOR.size, program.SIZE.size, program.OP.size, program.SEGMENT.size]
    assert sizes == [56, 16, 16, 20]
    assert sizes == [lib.lf_sizeof(i) for i in range(4)]
    offsets = {
        "lf_tensor": {
            "dtype": 0, "home": 2, "base": 4, "ne": 8, "stride": 24, "offset": 40, "mapping": 48, "device": 50,
        },
        "lf_op": {"op": 0, "flags": 2, "layer": 4, "device": 6, "args": 8, "n_out": 12, "n_in": 13, "n_attr": 14},
        "lf_size": {"letter": 0, "mul": 4, "add": 8, "div": 12},
        "lf_segment": {"device": 0, "n_in": 2, "n_out": 4, "first": 8, "count": 12, "copies": 16},
    }
    for name, fields in offsets.items():
        assert {f: ffi.offsetof(name, f) for f in fields} == fields
    assert [getattr(lib, "LF_LETTER_" + letter) for letter in program.LETTERS] == list(range(5))
    homes = [getattr(lib, "LF_HOME_" + name) for name in ("WEIGHT", "ARENA", "CACHE", "STATE", "INPUT", "VIEW")]
    assert homes == [program.WEIGHT, program.ARENA, program.CACHE, program.STATE, program.INPUT, program.VIEW]


def image_of(machine, result):
    """A packed image of a small graph."""
    image = Image()
    image.maximum = {"T": 4, "S": 1, "O": 1, "C": 64, "P": 1}
    image.slots, image.logits, image.arena, image.cache = {}, result.index, 1 << 16, 64
    _pack(image, machine.tensors, machine.ops)
    return image


def small_image():
    machine = Machine()
    x = np.ones((4, 32), "f4")
    w = np.ones((8, 32), "f4")
    y = machine.op("rms_norm", x, np.ones(32, "f4"), eps=1e-5)
    y = machine.op("matmul", y, w)
    for i, t in enumerate(t for t in machine.tensors if t.home == program.ARENA):
        t.offset = 4096 * i
    return image_of(machine, y), machine


def open_image(image, machine):
    """Open and run once; returns None or the fault's text."""
    cache, pool = Memory(64), Pool(2)
    maps = [(int(ffi.cast("uintptr_t", ffi.from_buffer(a))), a.nbytes) for a in machine.arrays]
    try:
        opened = Program(image, maps, cache, pool)
        opened.run(T=4, S=1, O=1, C=64, P=1)
        opened.close()
    except RuntimeFault as fault:
        return str(fault)
    finally:
        cache.close()
        pool.close()
    return None


def test_a_good_image_runs():
    assert open_image(*small_image()) is None


@pytest.mark.parametrize(
    ("table", "record", "field", "value", "says"),
    [
        ("tensors", 0, 1, 0xFFFF, "no known home|outside its home"),
        ("tensors", 0, 0, 777, "format 777"),
        ("tensors", 0, 11, 1 << 40, "outside its home"),
        ("tensors", 0, 11, -8, "outside its home"),
        ("tensors", 0, 3, 1 << 30, "size that cannot be|outside its home"),
        ("tensors", 0, 3, -9, "bad dimension"),
        ("tensors", 0, 12, 99, "outside its home"),
        ("ops", 0, 0, 9999, "does not exist"),
        ("ops", 0, 4, 1 << 30, "outside the pool"),
        ("ops", 0, 6, 9, "another number of operands"),
    ],
)
def test_damaged_records_are_refused(table, record, field, value, says):
    image, machine = small_image()
    layout = {"tensors": program.TENSOR, "ops": program.OP}[table]
    data = bytearray(getattr(image, table))
    fields = list(layout.unpack_from(data, record * layout.size))
    fields[field] = value
    layout.pack_into(data, record * layout.size, *fields)
    setattr(image, table, bytes(data))
    fault = open_image(image, machine)
    assert fault is not None
    assert any(part in fault for part in says.split("|")), fault


def test_operands_that_do_not_fit_are_refused():
    image, machine = small_image()
    pool = list(struct.unpack(f"<{len(image.pool) // 4}i", image.pool))
    for value in (-2, 1 << 20, -1):
        for i in range(5):
            changed = pool.copy()
            changed[i] = value
            image.pool = struct.pack(f"<{len(changed)}i", *changed)
            if i != 3:  # the attribute: any number will do
                assert open_image(image, machine) is not None


def test_random_damage_never_crashes():
    """Bytes of each table changed at random: a fault or a run, nothing else."""
    rng = np.random.default_rng(5)
    refused = 0
    for _ in range(400):
        image, machine = small_image()
        table = ("tensors", "ops", "pool", "segments")[rng.integers(4)]
        data = bytearray(getattr(image, table))
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(len(data))] = rng.integers(256)
        setattr(image, table, bytes(data))
        refused += open_image(image, machine) is not None
    assert refused > 100


def test_sizes_beyond_what_was_declared_are_refused():
    image, machine = small_image()
    cache, pool = Memory(64), Pool(1)
    maps = [(int(ffi.cast("uintptr_t", ffi.from_buffer(a))), a.nbytes) for a in machine.arrays]
    opened = Program(image, maps, cache, pool)
    with pytest.raises(RuntimeFault, match="at most 4"):
        opened.run(T=5, S=1, O=1, C=64, P=1)
    opened.close()
    cache.close()
    pool.close()
