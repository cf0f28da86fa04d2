"""The flat program's records as Python packs them; program.h holds the same layout and a test compares the two."""

from __future__ import annotations

import struct

TENSOR = struct.Struct("<HHi4i4iqHHI")
SIZE = struct.Struct("<4i")
OP = struct.Struct("<HHhhIBBBB")
SEGMENT = struct.Struct("<HHHHiiI")

WEIGHT, ARENA, CACHE, STATE, INPUT, VIEW = range(6)
LETTERS = "TSOCP"  # tokens, sequences, output rows, cells, pages of a sequence
NONE = -1
NO_BARRIER = 1  # in an op's flags
A8 = 1000  # the dtype of activations in integer form


def attribute(value):
    """An op's attribute as the int32 that lies in the pool: floats by their bits."""
    if isinstance(value, float):
        return struct.unpack("<i", struct.pack("<f", value))[0]
    return int(value)
