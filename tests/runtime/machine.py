"""Run single ops (or short chains) on the C core from numpy arrays, for comparison with the reference bodies."""

from __future__ import annotations

import numpy as np

from llamafile.arena import plan_arena
from llamafile.graph import Tensor
from llamafile.lower import _pack
from runtime import cpu, program
from runtime._core import ffi
from runtime.executor import Memory, Program
from runtime.ops import OPS
from runtime.threads import Pool

from .cases import Block, Cells, Quantized

LETTERS = {"T": 1, "S": 1, "O": 1, "C": 64, "P": 1}


class Machine:
    """A graph that is filled op by op and run once; operands are numpy arrays, Blocks or earlier results."""

    def __init__(self):
        self.tensors, self.ops, self.arrays, self.slots, self.caches = [], [], [], {}, []
        self.label, self.current_layer = "test", -1

    emit = None  # set below: the graph's own

    def weight(self, value):
        """An operand that is only read."""
        if isinstance(value, Tensor) or value is None:
            return value
        if isinstance(value, Quantized):
            return self.op("quantize_rows", value.rows)
        if isinstance(value, Cells):
            return self.cache(value.values, value.format.name)
        if isinstance(value, Block):
            data, dtype, shape = value.raw, value.format.name, value.shape
        else:
            data, dtype, shape = np.ascontiguousarray(value), {"f": "f32", "i": "i32"}[value.dtype.kind], value.shape
            if value.dtype == np.float16:
                dtype = "f16"
        self.arrays.append(data)
        return Tensor(self, dtype, tuple(shape), program.WEIGHT, mapping=len(self.arrays) - 1)

    def cache(self, array, dtype="f32"):
        """An operand that an op writes to: [cells, heads, size]."""
        tensor = Tensor(self, dtype, array.shape, program.CACHE)
        self.caches.append((tensor, array))
        return tensor

    def op(self, name, *operands, **attrs):
        """Append an op; returns its output tensor or tensors."""
        operands = [self.weight(o) for o in operands]
        return self.emit(OPS[name], operands, attrs)

    def run(self, *results, isa=None, threads=1):
        """Run everything; returns the results as arrays of floats (or ints)."""
        if isa:
            cpu.choose(isa)
        from llamafile.lower import Image

        image = Image()
        image.maximum, image.slots, image.logits = LETTERS, {}, results[0].index
        image.arena = plan_arena(self.tensors, self.ops, LETTERS) + (1 << 16)
        keep = 0  # results that are read after the run must not share memory: give each its own place
        for t in self.tensors:
            if t.home == program.ARENA:
                t.offset = keep
                keep += 1 << 22
        image.arena = keep
        image.cache = sum(a.nbytes for _, a in self.caches)
        at = 0
        for tensor, array in self.caches:
            tensor.offset, at = at, at + array.nbytes
        _pack(image, self.tensors, self.ops)
        cache, pool = Memory(image.cache), Pool(threads)
        for tensor, array in self.caches:
            ffi.memmove(ffi.cast("char *", cache.raw.address) + tensor.offset, ffi.from_buffer(array), array.nbytes)
        buffers = [ffi.from_buffer(a) for a in self.arrays]
        maps = [(int(ffi.cast("uintptr_t", b)), a.nbytes) for b, a in zip(buffers, self.arrays)]
        opened = Program(image, maps, cache, pool)
        try:
            opened.run(**LETTERS)
            return [self._read(opened, cache, r) for r in results]
        finally:
            opened.close()
            cache.close()
            pool.close()

    def _read(self, opened, cache, tensor):
        count = int(np.prod(tensor.shape))
        base = cache.raw.address if tensor.home == program.CACHE else opened.arena.raw.address
        kind = {"f32": "f4", "i32": "i4", "f16": "f2"}[tensor.dtype]
        raw = ffi.buffer(ffi.cast("char *", base) + tensor.offset, count * np.dtype(kind).itemsize)
        return np.frombuffer(raw, kind).reshape(tensor.shape).copy()


def _emit():
    from llamafile.graph import Graph

    return Graph.emit


Machine.emit = _emit()
