"""Writes a llama of any size with random weights, by the standard library alone: for machines that have nothing else.

`python3 tests/gpu/made_model.py SHAPE FORMAT VOCABULARY.gguf OUT.gguf`; the vocabulary is another GGUF's. Weights
repeat after 64 MiB, which no speed depends on, and are the same on every machine.
"""

from __future__ import annotations

import random
import struct
import sys
import time

SHAPES = {  # layers, width, heads, heads of keys and values, width of the feed-forward network
    "1.1B": (22, 2048, 32, 4, 5632), "3B": (26, 3200, 32, 32, 8640), "7B": (32, 4096, 32, 32, 11008),
    "8B": (32, 4096, 32, 8, 14336),
}  # fmt: skip
# Number of the format, values and bytes of a block, and where in it the halves lie that scale it.
FORMATS = {"Q4_0": (2, 32, 18, (0,)), "Q8_0": (8, 32, 34, (0,)), "Q4_K": (12, 256, 144, (0, 2)),
           "Q6_K": (14, 256, 210, (208,)), "F16": (1, 1, 2, ())}  # fmt: skip
F32, PIECE = 0, 64 << 20
FIXED = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
STRING, ARRAY = 8, 9


def blocks(name):
    """About 64 MiB of blocks with small scales."""
    _, _, size, halves = FORMATS[name]
    chance = random.Random(11)
    count = PIECE // size
    data = bytearray(chance.randbytes(count * size))
    if name == "F16":  # magnitudes about 0.02
        data[1::2] = bytes(0x20 | b & 0x87 for b in chance.randbytes(256)) * (len(data) // 512)
    for at in halves:
        data[at + 1 :: size] = bytes(0x14 | b & 0x81 for b in chance.randbytes(count))
    if name == "Q6_K":
        for at in range(192, 208):  # its scales are bytes
            data[at::size] = bytes((b & 15) | 16 for b in chance.randbytes(count))
    return bytes(data)


def vocabulary(path):
    """(tokens, the encoded keys below tokenizer.) of a GGUF."""
    with open(path, "rb") as file:
        data = file.read(64 << 20)
    (count,) = struct.unpack_from("<Q", data, 16)
    at, kept, tokens = 24, [], 0

    def skip(kind, at):
        if kind == STRING:
            return at + 8 + struct.unpack_from("<Q", data, at)[0]
        if kind != ARRAY:
            return at + FIXED[kind]
        inner, n = struct.unpack_from("<IQ", data, at)
        at += 12
        if inner != STRING:
            return at + n * FIXED[inner]
        for _ in range(n):
            at = skip(STRING, at)
        return at

    for _ in range(count):
        start = at
        (length,) = struct.unpack_from("<Q", data, at)
        name = data[at + 8 : at + 8 + length]
        at += 8 + length
        (kind,) = struct.unpack_from("<I", data, at)
        if name == b"tokenizer.ggml.tokens":
            (tokens,) = struct.unpack_from("<Q", data, at + 8)
        at = skip(kind, at + 4)
        if name.startswith(b"tokenizer."):
            kept.append(data[start:at])
    return tokens, kept


def key(name, kind, value):
    """One encoded key."""
    text = name.encode()
    head = struct.pack("<Q", len(text)) + text + struct.pack("<I", kind)
    if kind == STRING:
        return head + struct.pack("<Q", len(value)) + value.encode()
    return head + struct.pack("<f" if kind == 6 else "<I", value)


def tensors(shape, tokens):
    """(name, ne) of each tensor."""
    layers, width, heads, kv_heads, ff = shape
    kv = width // heads * kv_heads
    layer = {"attn_norm": (width,), "attn_q": (width, width), "attn_k": (width, kv), "attn_v": (width, kv),
             "attn_output": (width, width), "ffn_norm": (width,), "ffn_gate": (width, ff), "ffn_up": (width, ff),
             "ffn_down": (ff, width)}  # fmt: skip
    yield "token_embd.weight", (width, tokens)
    for i in range(layers):
        for name, ne in layer.items():
            yield f"blk.{i}.{name}.weight", ne
    yield "output_norm.weight", (width,)
    yield "output.weight", (width, tokens)


def make(shape, name, source, target):
    """Write the model; returns the bytes of weights that a step of decoding reads."""
    number, values, size, _ = FORMATS[name]
    layers, width, heads, kv_heads, ff = SHAPES[shape]
    tokens, kept = vocabulary(source)
    numbers = {"block_count": layers, "context_length": 4096, "embedding_length": width, "feed_forward_length": ff,
               "attention.head_count": heads, "attention.head_count_kv": kv_heads,
               "rope.dimension_count": width // heads, "vocab_size": tokens}  # fmt: skip
    keys = [key("general.architecture", STRING, "llama"), key("general.name", STRING, f"random {shape} {name}")]
    keys += [*kept, *(key(f"llama.{k}", 4, v) for k, v in numbers.items())]
    keys += [key("llama.attention.layer_norm_rms_epsilon", 6, 1e-5), key("llama.rope.freq_base", 6, 10000.0)]
    infos, sizes, offset, read = [], [], 0, 0
    for title, ne in tensors(SHAPES[shape], tokens):
        plain = len(ne) == 1
        count = ne[0] * (1 if plain else ne[1])
        length = count * 4 if plain else count // values * size
        text = title.encode()
        infos.append(struct.pack("<Q", len(text)) + text + struct.pack(f"<I{len(ne)}QIQ", len(ne), *ne,
                                                                       F32 if plain else number, offset))  # fmt: skip
        sizes.append((plain, length))
        offset += length + -length % 32
        read += 0 if title.startswith("token_embd") else length
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(infos), len(keys)) + b"".join(keys) + b"".join(infos)
    piece = memoryview(blocks(name))
    with open(target, "wb") as file:
        file.write(head + bytes(-len(head) % 32))
        for plain, length in sizes:
            if plain:
                file.write(struct.pack("<f", 1.0) * (length // 4))
            for at in range(0, 0 if plain else length, len(piece)):
                file.write(piece[: length - at])
            file.write(bytes(-length % 32))
    return read


if __name__ == "__main__":
    started = time.monotonic()
    print(f"{make(*sys.argv[1:5]) / 1e9:.2f} GB of weights in {time.monotonic() - started:.1f} s")
