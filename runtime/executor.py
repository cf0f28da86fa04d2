"""A program that C has opened: its inputs as memory to write to, and one call that runs it."""

from __future__ import annotations

from ._core import ffi, lib
from .ops import RuntimeFault
from .program import LETTERS

FAULT = 512  # bytes for the one line that C writes


class Memory:
    """Zeroed memory in whole pages; freed by close."""

    def __init__(self, size):
        self.raw = lib.lf_memory_new(max(size, 64))
        if self.raw.address == ffi.NULL:
            raise RuntimeFault(f"memory: {size} bytes cannot be had; use a smaller context (-c) or batch (-ub)")

    def read(self, tensor, size, at=0):
        """`size` bytes, from byte `at` on, of a tensor that was placed in this memory, where they lie."""
        return ffi.buffer(ffi.cast("char *", self.raw.address) + tensor.offset + at, size)

    def close(self):
        """Give the memory back."""
        lib.lf_memory_free(self.raw)
        self.raw = ffi.new("lf_memory *")[0]


class Program:
    """A flat program in C's hands; `image` is lower's, `mappings` [(address, length)] the files' and the constants'.

    `cache` is memory of the host; what lies on devices 1, 2, ... is in `sides` (runtime.devices.Side).
    """

    def __init__(self, image, mappings, cache, pool, sides=()):
        self.image, self.pool = image, pool
        self.constants = None  # whoever opens it may leave here what must live as long
        self.arena = Memory(image.arena)
        raw = ffi.new("lf_image *")
        keep = []  # what C reads while it opens the image

        def table(field, ctype, data):
            buffer = ffi.from_buffer(f"{ctype}[]", data)
            keep.append(buffer)
            setattr(raw, field, ffi.cast(f"{ctype} *", buffer))
            setattr(raw, f"n_{field}", len(data) // ffi.sizeof(ctype))

        table("tensors", "lf_tensor", image.tensors)
        table("sizes", "lf_size", image.sizes)
        table("ops", "lf_op", image.ops)
        table("segments", "lf_segment", image.segments)
        table("pool", "int32_t", image.pool)
        maps = ffi.new("lf_memory[]", max(1, len(mappings)))
        for i, (address, length) in enumerate(mappings):
            maps[i].address, maps[i].size = ffi.cast("void *", address), length
        raw.mappings, raw.n_mappings = maps, len(mappings)
        raw.arena, raw.cache = self.arena.raw, cache.raw
        others = ffi.new("lf_side[]", max(1, len(sides)))
        for i, side in enumerate(sides):
            side.fill(others[i])
        raw.sides, raw.n_sides = others, len(sides)
        for i, letter in enumerate(LETTERS):
            raw.maximum[i] = image.maximum[letter]
        self._fault = ffi.new("char[]", FAULT)
        self.handle = lib.lf_open(raw, pool.handle, self._fault, FAULT)
        if self.handle == ffi.NULL:
            self.arena.close()
            raise RuntimeFault(f"program: {ffi.string(self._fault).decode()}")
        self._letters = ffi.new("int32_t[]", len(LETTERS))
        self.inputs = {name: self._input(slot) for name, slot in image.slots.items()}

    def _input(self, slot):
        memory = lib.lf_input(self.handle, slot)
        return ffi.cast("int32_t *", memory.address)

    def run(self, **letters):
        """Run everything with these sizes; inputs were written before."""
        for i, letter in enumerate(LETTERS):
            self._letters[i] = letters[letter]
        if lib.lf_run(self.handle, self._letters, self._fault, FAULT):
            raise RuntimeFault(f"program: {ffi.string(self._fault).decode()}")

    def floats(self, tensor):
        """Where a tensor of floats lies (its index in the image)."""
        return ffi.cast("float *", lib.lf_data(self.handle, tensor))

    def close(self):
        """Free what C holds, and the arena."""
        lib.lf_close(self.handle)
        self.handle = ffi.NULL
        self.arena.close()
