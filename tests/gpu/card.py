"""A card behind the calls of runtime/module.h, by ctypes alone: ops on numpy arrays, with guards around memory."""

from __future__ import annotations

import ctypes as c

import numpy as np

from runtime.ops import OPS
from runtime.program import A8
from runtime.quants import FORMATS
from tests.runtime.cases import Block, Cells, Quantized

GUARD = 4096  # bytes before and after each result, which must stay as they are
PATTERN = 0xA5
NUMPY = {"f32": "f4", "f16": "f2", "i32": "i4"}


class View(c.Structure):
    _fields_ = [("data", c.c_void_p), ("ne", c.c_int32 * 4), ("stride", c.c_int64 * 4), ("dtype", c.c_int32)]


class OpRecord(c.Structure):
    _fields_ = [("op", c.c_uint16), ("flags", c.c_uint16), ("layer", c.c_int16), ("device", c.c_int16),
                ("args", c.c_uint32), ("n_out", c.c_uint8), ("n_in", c.c_uint8), ("n_attr", c.c_uint8),
                ("reserved", c.c_uint8)]  # fmt: skip


class Stretch(c.Structure):
    _fields_ = [("views", c.POINTER(View)), ("ops", c.POINTER(OpRecord)), ("pool", c.POINTER(c.c_int32)),
                ("n_views", c.c_int32), ("n_ops", c.c_int32), ("same", c.c_uint64)]  # fmt: skip


class Facts(c.Structure):
    _fields_ = [("name", c.c_char * 96), ("arch", c.c_char * 32), ("total", c.c_int64), ("available", c.c_int64)]


class Table(c.Structure):
    _fields_ = [
        ("abi", c.c_uint64), ("kind", c.c_char_p),
        ("count", c.CFUNCTYPE(c.c_int32)),
        ("open", c.CFUNCTYPE(c.c_void_p, c.c_int, c.c_char_p, c.c_int)),
        ("close", c.CFUNCTYPE(None, c.c_void_p)),
        ("memory", c.CFUNCTYPE(c.c_int, c.c_void_p, c.POINTER(Facts))),
        ("alloc", c.CFUNCTYPE(c.c_void_p, c.c_void_p, c.c_void_p, c.c_int64)),
        ("release", c.CFUNCTYPE(None, c.c_void_p, c.c_void_p)),
        ("upload", c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p, c.c_void_p, c.c_int64, c.c_char_p, c.c_int)),
        ("download", c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p, c.c_void_p, c.c_int64, c.c_char_p, c.c_int)),
        ("copy", c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p, c.c_void_p, c.c_int64, c.c_char_p, c.c_int)),
        ("run", c.CFUNCTYPE(c.c_int, c.c_void_p, c.POINTER(Stretch), c.c_char_p, c.c_int)),
        ("serves", c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p, c.c_void_p)),
        ("sync", c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_char_p, c.c_int)),
    ]  # fmt: skip


def table(path):
    """The table of calls of a compiled module."""
    library = c.CDLL(str(path))
    library.lf_module_table.restype = c.POINTER(Table)
    return library.lf_module_table().contents


def a8_stride(k):
    """Bytes of a row of activations in integer form, as runtime/a8.h counts them."""
    return -(-(-(-k // 32) * 92) // 64) * 64


class Fault(Exception):
    """What a call of the module says went wrong."""


class Operand:
    """A tensor in the card's memory: dtype, shape outermost first, its address, whether a guard is around it."""

    def __init__(self, dtype, shape, address, nbytes):
        self.dtype, self.shape, self.address, self.nbytes = dtype, tuple(shape), address, nbytes

    def view(self):
        ne = [*reversed(self.shape), 1, 1, 1, 1][:4]
        strides = [1, *np.cumprod(ne[:3])]
        number = A8 if self.dtype == "a8" else FORMATS[self.dtype].id
        return View(self.address, (c.c_int32 * 4)(*ne), (c.c_int64 * 4)(*(int(s) for s in strides)), number)


def bytes_of(dtype, shape):
    """What a tensor takes."""
    rows = int(np.prod(shape[:-1]))
    if dtype == "a8":
        return rows * a8_stride(shape[-1])
    return rows * FORMATS[dtype].row_size(shape[-1])


def words_of(op, attrs):
    """The attributes of an op as they stand in the pool."""
    typed = (c.c_float(attrs[n]) if kind == "float" else c.c_int32(attrs[n]) for n, kind in op.attrs.items())
    return [c.c_int32.from_buffer_copy(value).value for value in typed]


class Card:
    """One open card."""

    def __init__(self, path, index=0):
        self.table, self.text = table(path), c.create_string_buffer(512)
        self.handle = self.table.open(index, self.text, 512)
        self.owned = []
        if not self.handle:
            raise Fault(self.text.value.decode())

    def close(self):
        self.free()
        self.table.close(self.handle)

    def free(self):
        """Give back all memory."""
        for address in self.owned:
            self.table.release(self.handle, address)
        self.owned.clear()

    def must(self, status):
        if status:
            raise Fault(self.text.value.decode())

    def alloc(self, size):
        address = self.table.alloc(self.handle, None, size)
        if not address:
            raise Fault(f"no {size} bytes")
        self.owned.append(address)
        return address

    def upload(self, address, array):
        data = np.ascontiguousarray(array)
        self.must(self.table.upload(self.handle, address, data.ctypes.data, data.nbytes, self.text, 512))

    def download(self, address, size):
        data = np.empty(size, "u1")
        self.must(self.table.download(self.handle, data.ctypes.data, address, size, self.text, 512))
        return data

    def copy(self, to, source, size):
        self.must(self.table.copy(self.handle, to, source, size, self.text, 512))

    def sync(self):
        self.must(self.table.sync(self.handle, self.text, 512))

    def put(self, value):
        """An operand from a numpy array, a Block, Cells or Quantized rows."""
        if value is None or isinstance(value, Operand):
            return value
        if isinstance(value, Quantized):
            (made,) = self.op("quantize_rows", value.rows)
            return made
        if isinstance(value, Block):
            return self.place(value.format.name, value.shape, value.raw)
        if isinstance(value, Cells):
            return self.place(value.format.name, value.shape, value.values)
        dtype = {"f4": "f32", "f2": "f16", "i4": "i32"}[np.asarray(value).dtype.str[1:]]
        return self.place(dtype, value.shape, value)

    def place(self, dtype, shape, data=None):
        """Memory for a tensor between two guards, filled with data, or with bytes that are no number."""
        nbytes = bytes_of(dtype, shape)
        whole = np.full(nbytes + 2 * GUARD, PATTERN, "u1")
        whole[GUARD : GUARD + nbytes] = 0xFF if data is None else np.ascontiguousarray(data).reshape(-1).view("u1")
        address = self.alloc(whole.nbytes)
        self.upload(address, whole)
        return Operand(dtype, shape, address + GUARD, nbytes)

    def values(self, operand):
        """What lies in a tensor; fails where something was written around it."""
        whole = self.download(operand.address - GUARD, operand.nbytes + 2 * GUARD)
        assert (whole[:GUARD] == PATTERN).all(), "written before the beginning"
        assert (whole[GUARD + operand.nbytes :] == PATTERN).all(), "written behind the end"
        raw = whole[GUARD : GUARD + operand.nbytes]
        if operand.dtype in NUMPY:
            return raw.view(NUMPY[operand.dtype]).reshape(operand.shape)
        if operand.dtype == "a8":
            return raw
        return FORMATS[operand.dtype].decode(raw).reshape(operand.shape)

    def record(self, name, operands, attrs):
        """Outputs of an op, and its record with views and pool numbered from the beginning."""
        op = OPS[name]
        operands = [self.put(o) for o in operands]
        operands += [None] * (len(op.inputs) - len(operands))
        attrs = {**op.defaults, **attrs}
        shapes = op.infer(operands, attrs)
        outs = [operands[op.writes]] if op.writes is not None else [self.place(*s) for s in shapes]
        return outs, operands, words_of(op, attrs)

    def stretch(self, *ops, same=0):
        """A stretch of (name, outputs, operands, attributes); keeps what it points to."""
        views, pool, records = [], [], []
        for name, outs, operands, attrs in ops:
            records.append(OpRecord(OPS[name].code, 0, 0, 0, len(pool), len(outs), len(operands), len(attrs), 0))
            for o in (*outs, *operands):
                pool.append(-1 if o is None else len(views))
                if o is not None:
                    views.append(o.view())
            pool += attrs
        kept = (View * len(views))(*views), (OpRecord * len(records))(*records), (c.c_int32 * len(pool))(*pool)
        made = Stretch(kept[0], kept[1], kept[2], len(views), len(records), same)
        made.kept = kept
        return made

    def run(self, stretch):
        self.must(self.table.run(self.handle, c.byref(stretch), self.text, 512))

    def op(self, name, *operands, **attrs):
        """Run one op; returns its outputs as operands."""
        outs, placed, words = self.record(name, operands, attrs)
        self.run(self.stretch((name, outs, placed, words)))
        return outs

    def case(self, case):
        """Run a case; returns its outputs as arrays, after a look at every guard."""
        outs, placed, words = self.record(case.name, case.operands, case.attrs)
        self.run(self.stretch((case.name, outs, placed, words)))
        got = [self.values(o) for o in outs]
        for o in placed:
            if o is not None:
                self.values(o)
        self.free()
        return got
