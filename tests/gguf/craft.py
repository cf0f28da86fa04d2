"""Makes GGUF bytes for tests, by the specification and not by our writer: any version, any lie."""

from __future__ import annotations

import struct

CODES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

# One key of each type, arrays of each kind, and two tensors: F32 of 32 by 2, Q4_0 of 64.
EVERY_TYPE = [
    ("general.architecture", 8, "llama"),
    *((f"scalar.{code}", type, 1) for type, code in CODES.items()),
    *((f"array.{code}", 9, (type, [0, 1, 1])) for type, code in CODES.items()),
    ("array.text", 9, (8, ["", "a", "żółć", "the end"])),
    ("array.empty", 9, (8, [])),
    ("text.empty", 8, ""),
]
TWO_TENSORS = [
    ("blk.0.weight", 0, (32, 2), bytes(range(256))),
    ("blk.1.weight", 2, (64,), bytes(36)),
]


def text(value, width):
    """Encode a string whose length takes `width` bytes."""
    encoded = value if isinstance(value, bytes) else value.encode()
    return len(encoded).to_bytes(width, "little") + encoded


def value(type, content, width):
    """Encode a value without its type."""
    if type == 8:
        return text(content, width)
    if type != 9:
        return struct.pack("<" + CODES[type], content)
    item, items = content
    return struct.pack("<I", item) + len(items).to_bytes(width, "little") + b"".join(
        value(item, one, width) for one in items)


def craft(keys=(), tensors=(), version=3, alignment=32, counts=None, offsets=None):
    """Return the bytes of a GGUF; `counts` (tensors, keys) and `offsets` replace the true ones."""
    width = 4 if version == 1 else 8
    counts = counts or (len(tensors), len(keys))
    out = b"GGUF" + struct.pack("<I", version) + b"".join(n.to_bytes(width, "little") for n in counts)
    for name, type, content in keys:
        out += text(name, width) + struct.pack("<I", type) + value(type, content, width)
    at = 0
    for index, (name, type, ne, data) in enumerate(tensors):
        out += text(name, width) + struct.pack("<I", len(ne)) + b"".join(n.to_bytes(width, "little") for n in ne)
        out += struct.pack("<IQ", type, offsets[index] if offsets else at)
        at += len(data) + -len(data) % alignment
    for *_, data in tensors:
        out += bytes(-len(out) % alignment) + data
    return out
