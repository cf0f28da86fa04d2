"""Writing GGUF version 3: keys and tensors in the order given, tensors streamed, the file there whole or not at all."""

from __future__ import annotations

import os
import struct

from llamafile.errors import LlamafileError
from runtime.quants import BY_ID

from .values import ARRAY, CODES, SCALARS, STRING, Array

PIECE = 1 << 24  # bytes of a tensor that are copied at once


def write(path, keys, tensors):
    """Write a GGUF to `path`; raise LlamafileError where it cannot be written, and leave no part of it behind then.

    keys: (name, GGUF type, value) each; an array's value is (element type, list) or an Array, and bytes are a value
    of any type already encoded. tensors: (name, format id, ne, chunks) each, ne[0] the contiguous dimension, chunks
    an iterable of bytes-like objects that is asked only when the tensor's turn comes. The key general.alignment, where
    given, is obeyed.
    """
    keys, tensors = list(keys), list(tensors)
    alignment = next((_integer(value) for name, _, value in keys if name == "general.alignment"), 32)
    head, sizes = _head(keys, tensors, alignment)
    path = os.path.realpath(path)
    part = os.path.join(os.path.dirname(path), f".{os.path.basename(path)[:200]}.{os.urandom(4).hex()}.part")
    try:
        try:
            with open(part, "xb") as out:
                out.write(head)
                for (name, _, _, chunks), size in zip(tensors, sizes, strict=True):
                    out.write(bytes(-out.tell() % alignment))
                    _stream(out, name, chunks, size)
                out.write(bytes(-out.tell() % alignment))
            os.replace(part, path)
        except BaseException:
            if os.path.exists(part):
                os.unlink(part)
            raise
    except OSError as problem:
        raise LlamafileError(f"{path}: cannot be written: {problem.strerror}; free some space or choose another place"
                             ) from None


def copied_keys(file, without=()):
    """Return the keys of an open File for write, unchanged to the byte, but for the names in `without`."""
    view = file.mappings[0].view
    kept = [(name, span) for name, span in file.spans.items() if name not in without]
    if file.version == 1:  # lengths and counts had 4 bytes
        return [(name, type, file.keys[name]) for name, (type, _, _) in kept]
    return [(name, type, view[start:end]) for name, (type, start, end) in kept]


def copied_tensor(file, tensor):
    """Return a tensor of an open File for write, data unchanged; raise LlamafileError where its size is unknown."""
    if tensor.type not in BY_ID:
        raise LlamafileError(f"{file.label}: tensor {tensor.name} has format id {tensor.type}, which this build cannot "
                             "copy; look for a newer build")
    return tensor.name, tensor.type, tensor.ne, _pieces(file, tensor)


def tensor_size(type, ne):
    """Return the bytes that a tensor of a known format takes; raise ValueError where its rows are no whole blocks."""
    size = BY_ID[type].row_size(ne[0])
    for extent in ne[1:]:
        size *= extent
    return size


def _head(keys, tensors, alignment):
    """Return all bytes before the first tensor's padding, and the tensors' sizes."""
    out = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(keys))]
    for name, type, value in keys:
        out += _string(name), struct.pack("<I", type), _value(type, value)
    sizes = [tensor_size(type, ne) for _, type, ne, _ in tensors]
    offset = 0
    for (name, type, ne, _), size in zip(tensors, sizes, strict=True):
        out += _string(name), struct.pack(f"<I{len(ne)}QIQ", len(ne), *ne, type, offset)
        offset += size + -size % alignment
    return b"".join(out), sizes


def _string(text):
    encoded = text.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def _integer(value):
    return value if isinstance(value, int) else int.from_bytes(value, "little")


def _value(type, value):
    """Encode a value without its type."""
    if isinstance(value, (bytes, memoryview)):
        return value
    if type == STRING:
        return _string(value)
    if type != ARRAY:
        return SCALARS[type].pack(value)
    item, items = (value.type, value.tolist()) if isinstance(value, Array) else value
    head = struct.pack("<IQ", item, len(items))
    if item in CODES:
        return head + struct.pack(f"<{len(items)}{CODES[item]}", *items)
    return head + b"".join(_value(item, element) for element in items)


def _stream(out, name, chunks, size):
    """Write a tensor's chunks, which must be `size` bytes together: the head has promised the next one's place."""
    for chunk in chunks:
        size -= out.write(memoryview(chunk).cast("B"))
    if size:
        raise ValueError(f"tensor {name}: its chunks are {abs(size)} bytes too {'short' if size > 0 else 'long'}")


def _pieces(file, tensor):
    view, end = file.mappings[tensor.mapping].view, tensor.offset + tensor.nbytes
    for start in range(tensor.offset, end, PIECE):
        yield view[start : min(start + PIECE, end)]
