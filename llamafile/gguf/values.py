"""The types of GGUF metadata, and their values as Python sees them: scalars at once, arrays where they lie."""

from __future__ import annotations

import struct

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
CODES = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "?", U64: "Q", I64: "q", F64: "d"}
NAMES = ("u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64")
SIZES = {type: struct.calcsize("<" + code) for type, code in CODES.items()}
SCALARS = {type: struct.Struct("<" + code) for type, code in CODES.items()}


class Array:
    """`count` elements of GGUF type `type` in `nbytes` bytes from `offset` of the file's mapping number `mapping`."""

    __slots__ = ("_view", "count", "mapping", "nbytes", "offset", "type", "width")

    def __init__(self, type, count, mapping, offset, nbytes, width, view):
        self.type, self.count, self.mapping, self.offset, self.nbytes = type, count, mapping, offset, nbytes
        self.width = width  # bytes of a string's length: 4 in GGUF version 1, 8 later
        self._view = view

    def __len__(self):
        """Return the number of elements."""
        return self.count

    def __repr__(self):
        return f"<{self.count} of {NAMES[self.type]}>"

    def tolist(self, limit=None):
        """Return the (first) elements as Python values: for small arrays and for tools; a vocabulary is C's to read."""
        view, at = self._view, self.offset
        count = self.count if limit is None else min(self.count, limit)
        if self.type in CODES:
            return view[at : at + count * SIZES[self.type]].cast(CODES[self.type]).tolist()
        items = []
        for _ in range(count):
            start = at + self.width
            at = start + int.from_bytes(view[at:start], "little")
            items.append(str(view[start:at], "utf-8", "replace"))
        return items
