"""Lays a model's matrices out as products read them (runtime/quants/laid_out.py), and makes them plain again."""

from __future__ import annotations

import struct

from llamafile.errors import LlamafileError
from runtime._core import ffi, lib
from runtime.quants import BY_ID, laid_out

PIECE = 8 << 20  # bytes that are laid out at a time, or one panel where that is larger
_ID = struct.Struct("<I")


def other_form(tensor, lay):
    """Return the format that a tensor gets; None where it stays as it is. lay: laid out, plain (False) or neither."""
    now = BY_ID.get(tensor.type)
    if lay is None:
        return None
    if now is None or not lay:
        return now and now.plain
    return laid_out.laid_out(now) if laid_out.fits(now, tensor.ne) else None


def rows_of(tensor):
    """Return how many rows a tensor has, over all outer dimensions."""
    rows = 1
    for extent in tensor.ne[1:]:
        rows *= extent
    return rows


def rearranged(tensor, address, rows, back):
    """Return the bytes of whole panels of a tensor, of which `rows` rows begin at `address`, in the other form."""
    form, width = BY_ID[tensor.type], tensor.ne[0]
    out = bytearray(rows * form.row_size(width))
    lib.lf_lay_out(form.id, ffi.cast("void *", address), ffi.from_buffer(out), rows // laid_out.ROWS,
                   width // form.block, back)  # fmt: skip
    return out


def plain_rows(tensor, address, rows):
    """Return the plain bytes of `rows` rows, whole panels, of a laid-out tensor."""
    return rearranged(tensor, address, rows, 1)


def pieces(tensor, address, back):
    """Yield the bytes of a tensor at an address in the other form, in order."""
    row = BY_ID[tensor.type].row_size(tensor.ne[0])
    step = max(1, PIECE // (row * laid_out.ROWS)) * laid_out.ROWS
    rows = rows_of(tensor)
    for first in range(0, rows, step):
        yield rearranged(tensor, address + first * row, min(step, rows - first), back)


def file_bytes(file, part, lay):
    """Yield the bytes of one part of an open GGUF, its matrices laid out, plain (`lay` False) or as they are (None).

    All else stays byte for byte as it is, and everything at its place: so the way back gives the very file.
    """
    view, address = file.mappings[part].view, file.mappings[part].address
    here = sorted((t for t in file.tensors.values() if t.mapping == part), key=lambda t: t.offset)
    for i, after in enumerate(here[1:]):
        before = here[i]
        if before.offset + before.nbytes > after.offset:
            raise LlamafileError(f"{file.label}: tensors {before.name} and {after.name} share bytes, so neither can be "
                                 "put in another order; convert the model again")
    changed = [(t, form) for t in here if (form := other_form(t, lay))]
    head = bytearray(view[: changed[0][0].offset if changed else 0])
    for tensor, form in changed:
        _ID.pack_into(head, tensor.type_at, form.id)
    yield head
    at = len(head)
    for tensor, _ in changed:
        yield from _as_it_is(view, at, tensor.offset)
        yield from pieces(tensor, address + tensor.offset, not lay)
        at = tensor.offset + tensor.nbytes
    yield from _as_it_is(view, at, len(view))


def _as_it_is(view, begin, end):
    for start in range(begin, end, PIECE):
        yield view[start : min(start + PIECE, end)]
