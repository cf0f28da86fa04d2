"""GPU modules and the cards that they open: memory there, copies there and back."""

from __future__ import annotations

from ._core import ffi, lib
from .ops import RuntimeFault

FAULT = 512  # bytes for the one line that C writes
CHUNK = 64 << 20  # bytes of weights that go up between two looks at the progress


class Module:
    """A loaded GPU module; it stays loaded until the process ends. Raises RuntimeFault where it is none of ours."""

    def __init__(self, path):
        self.path = path
        fault = ffi.new("char[]", FAULT)
        self.table = lib.lf_module_load(str(path).encode(), fault, FAULT)
        if self.table == ffi.NULL:
            raise RuntimeFault(f"{path}: {ffi.string(fault).decode(errors='replace')}")
        self.kind = ffi.string(self.table.kind).decode()

    def count(self):
        """How many cards there are."""
        return max(0, self.table.count())

    def open(self, index):
        """The card of that number; raises RuntimeFault."""
        return Card(self, index)

    def serves(self, op, args, tensors):
        """Whether the module has a kernel for an op's record (pointers to lf_op, its arguments, the tensor rows)."""
        return self.table.serves(op, args, tensors) != 0


class Card:
    """One open device: its name, architecture, total bytes; calls come from one thread at a time."""

    def __init__(self, module, index):
        self.module, self.index, self._table = module, index, module.table
        self._fault = ffi.new("char[]", FAULT)
        self.handle = self._table.open(index, self._fault, FAULT)
        if self.handle == ffi.NULL:
            raise RuntimeFault(f"{module.kind} {index}: {self._said()}")
        facts = self._facts()
        self.name, self.total = ffi.string(facts.name).decode(errors="replace"), facts.total
        self.architecture = ffi.string(facts.arch).decode(errors="replace")

    def _said(self):
        return ffi.string(self._fault).decode(errors="replace") or "it gave no reason"

    def _facts(self):
        facts = ffi.new("lf_device_facts *")
        if self._table.memory(self.handle, facts):
            raise RuntimeFault(f"{self.module.kind} {self.index}: its memory cannot be asked for")
        return facts

    def available(self):
        """Bytes of its memory that are free now."""
        return self._facts().available

    def alloc(self, size, host=0):
        """The address of size bytes there, or with `host` those bytes of the host in place; 0 where there is none."""
        return int(ffi.cast("uintptr_t", self._table.alloc(self.handle, ffi.cast("void *", host), size)))

    def release(self, address):
        """Give back what alloc gave."""
        if address and self.handle != ffi.NULL:
            self._table.release(self.handle, ffi.cast("void *", address))

    def upload(self, to, source, size):
        """Copy size bytes from an address of the host."""
        self._check(self._table.upload(self.handle, ffi.cast("void *", to), ffi.cast("void *", source), size,
                                       self._fault, FAULT))  # fmt: skip

    def download(self, to, source, size):
        """Copy size bytes to an address of the host."""
        self._check(self._table.download(self.handle, ffi.cast("void *", to), ffi.cast("void *", source), size,
                                         self._fault, FAULT))  # fmt: skip

    def copy(self, to, source, size):
        """Copy size bytes within its memory."""
        self._check(self._table.copy(self.handle, ffi.cast("void *", to), ffi.cast("void *", source), size,
                                     self._fault, FAULT))  # fmt: skip

    def sync(self):
        """Wait until all that was asked for is done."""
        self._check(self._table.sync(self.handle, self._fault, FAULT))

    def _check(self, status):
        if status:
            raise RuntimeFault(f"{self.module.kind} {self.index}: {self._said()}")

    def close(self):
        """Give the card back; its memory is gone."""
        if self.handle != ffi.NULL:
            self._table.close(self.handle)
            self.handle = ffi.NULL


class Side:
    """What a program finds on a card: a cache, and the weights that were brought there."""

    def __init__(self, card, cache, cache_size, uploads):
        """`cache` is an address there; uploads are (mapping, offset, size, address)."""
        self.card, self.cache, self.cache_size, self.uploads = card, cache, cache_size, uploads
        self._uploads = ffi.new("lf_upload[]", max(1, len(uploads)))
        for i, (mapping, offset, size, address) in enumerate(uploads):
            self._uploads[i] = mapping, offset, size, ffi.cast("void *", address)

    def fill(self, raw):
        """Write an lf_side; it is good while this object lives."""
        raw.module, raw.device = self.card.module.table, self.card.handle
        raw.cache.address, raw.cache.size = ffi.cast("void *", self.cache), self.cache_size
        raw.uploads, raw.n_uploads = self._uploads, len(self.uploads)
