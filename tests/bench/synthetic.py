"""Weights that nobody trained: random blocks, and a llama of 1.1B parameters made of them, the same for everyone."""

from __future__ import annotations

import numpy as np

from llamafile.gguf.file import File, Tensor
from llamafile.gguf.reader import open_path
from llamafile.gguf.values import F32, STRING, U32
from llamafile.gguf.writer import copied_keys, tensor_size, write
from llamafile.quantize_mixes import Plan, Request
from runtime.quants import BY_ID, FORMATS

PIECE = 1 << 22  # elements made at a time
SHAPE = {"layers": 22, "width": 2048, "heads": 32, "kv_heads": 4, "ff": 5632}


def random_rows(format, count, rng):
    """Bytes of `count` random numbers in a format, whole blocks, with scales of ordinary size."""
    if format.block == 1:
        values = rng.standard_normal(count, "f4") * np.float32(0.02)
        if format.name == "bf16":
            return (values.view("u4") >> 16).astype("<u2").tobytes()
        return values.astype({"f32": "<f4", "f16": "<f2"}[format.name]).tobytes()
    blocks = count // format.block
    parts = [_field(format, kind, n, blocks, rng) for _, kind, n in format.fields]
    return np.concatenate(parts, axis=1).tobytes()


def _field(format, kind, n, blocks, rng):
    """One field of all blocks as bytes [blocks, n * width]."""
    if kind in ("f16", "f32"):
        scales = rng.uniform(-0.002, 0.002, (blocks, n))
        return scales.astype("<f2" if kind == "f16" else "<f4").view("u1").reshape(blocks, -1)
    if format.name == "mxfp4" and n == 1:
        return rng.integers(118, 122, (blocks, 1), "u1")  # a small exponent
    return rng.integers(0, 256, (blocks, n * (2 if kind == "u16" else 1)), "u1")


def tensors(vocabulary, shape):
    """Name and ne of each tensor of a llama of that shape, its output not tied to its input."""
    width, ff = shape["width"], shape["ff"]
    kv = width // shape["heads"] * shape["kv_heads"]
    layer = {
        "attn_norm": (width,), "attn_q": (width, width), "attn_k": (width, kv), "attn_v": (width, kv),
        "attn_output": (width, width), "ffn_norm": (width,), "ffn_gate": (width, ff), "ffn_up": (width, ff),
        "ffn_down": (ff, width),
    }  # fmt: skip
    named = {"token_embd.weight": (width, vocabulary)}
    for i in range(shape["layers"]):
        named |= {f"blk.{i}.{part}.weight": ne for part, ne in layer.items()}
    return {**named, "output_norm.weight": (width,), "output.weight": (width, vocabulary)}


def keys(source, shape):
    """Keys for the writer: the vocabulary of an open llama, and the new shape."""
    number = {
        "block_count": shape["layers"], "context_length": 2048, "embedding_length": shape["width"],
        "feed_forward_length": shape["ff"], "attention.head_count": shape["heads"],
        "attention.head_count_kv": shape["kv_heads"], "rope.dimension_count": shape["width"] // shape["heads"],
        "vocab_size": len(source.need("tokenizer.ggml.tokens")),
    }  # fmt: skip
    kept = [key for key in copied_keys(source) if key[0].startswith("tokenizer.")]
    return [
        ("general.architecture", STRING, "llama"), ("general.name", STRING, "random llama"), *kept,
        *((f"llama.{name}", U32, value) for name, value in number.items()),
        ("llama.attention.layer_norm_rms_epsilon", F32, 1e-5), ("llama.rope.freq_base", F32, 10000.0),
    ]  # fmt: skip


def formats(named, kind, shape):
    """The format of each tensor in the mix `kind`, as `llamafile quantize` would choose it."""
    planned = File("random llama")
    planned.keys = {"general.architecture": "llama", "llama.block_count": shape["layers"]}
    planned.keys |= {"llama.attention.head_count": shape["heads"], "llama.attention.head_count_kv": shape["kv_heads"]}
    for name, ne in named.items():
        start = FORMATS["f32" if len(ne) == 1 else "f16"].id
        planned.tensors[name] = Tensor(name, start, ne, 0, 0, 0)
    plan = Plan(planned, Request(kind))
    return {name: plan.format_of(tensor) for name, tensor in planned.tensors.items()}


def make(path, vocabulary_of, kind, shape=None):
    """Write a random llama in the mix `kind` with the vocabulary of another GGUF; seeded, so it is always the same."""
    shape = shape or SHAPE
    with open_path(vocabulary_of) as source:
        named = tensors(len(source.need("tokenizer.ggml.tokens")), shape)
        chosen = formats(named, kind, shape)
        rng = np.random.default_rng(11)
        write(path, keys(source, shape), [(name, chosen[name].id, ne, chunks(chosen[name], ne, rng))
                                          for name, ne in named.items()])  # fmt: skip


def chunks(format, ne, rng):
    """Yield the bytes of one tensor; vectors are ones, as norms nearly are."""
    if len(ne) == 1:
        yield np.ones(ne[0], "<f4").tobytes()
        return
    left = ne[0] * ne[1]
    assert tensor_size(format.id, ne) == left // format.block * format.size
    while left:
        count = min(left, PIECE)
        yield random_rows(BY_ID[format.id], count, rng)
        left -= count
