"""Formats whose blocks lie as products read them: sixteen rows side by side, made from each block format's declaration.

A tensor is cut into panels of sixteen rows, one after the other. A panel has first the bytes that fill no dword (`odds`
of each block: the first of it, or the last), block after block, of all rows side by side; then the dwords, block after
block, each of all rows side by side. So a panel is as long as its rows, a vector load takes a dword of every row, and
both parts are read from the front to the back. Nothing but the order of the bytes is changed.
"""

from __future__ import annotations

from . import iq, k, legacy, mx  # noqa: F401  # what they declare is laid out here
from .format import BY_ID, TYPES, Format, register

ROWS = 16  # of a panel, whatever the instruction set: the widest has as many lanes
FLAG = 2048  # added to a format's id; GGUF's own ids lie far below, so that other programs refuse the file


def odds(format):
    """Return how many bytes of a block fill no dword, and how many of these stand in front of the dwords."""
    _, kind, count = format.fields[0]
    rest = format.size % 4
    return rest, rest if TYPES[kind][2] * count % 4 else 0


def laid_out(format):
    """Return the laid-out form of a format, or None where it has none."""
    return BY_ID.get(format.id + FLAG) if format.plain is None else None


def fits(format, ne):
    """Whether a tensor of this format with extents ne, innermost first, can be laid out: its rows fill panels."""
    return laid_out(format) is not None and len(ne) > 1 and ne[1] > 0 and ne[1] % ROWS == 0


for _plain in [f for f in BY_ID.values() if f.computed and f.group]:
    register(Format(f"{_plain.name}_r{ROWS}", _plain.id + FLAG, _plain.block, _plain.size, (), _plain.group,
                    _plain.biased)).plain = _plain  # fmt: skip
