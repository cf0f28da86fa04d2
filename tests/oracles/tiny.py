"""Tiny models of every architecture: made-up weights that numpy alone regenerates, and the logits kept for them.

`make_logits.py` ran the same weights through `transformers`; data/tiny_logits.npz holds what it said. Weights are
multiples of a power of two with 8 significant bits, so that F32, F16 and BF16 files hold the very same numbers.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).with_name("data")
VOCAB = 96
TOKENS = 150  # length of the input: longer than every window, every original context, and two pages of the cache
#: The positions whose logits are kept: all of the first, then those around the ends of windows and pages.
ROWS = (*range(12), 15, 16, 17, 31, 32, 33, 47, 48, 62, 63, 64, 65, 66, 71, 72, 73, 95, 96, 100, 111, 120, 127, 128,
        129, 130, 135, 140, 149)


@dataclass(frozen=True)
class Tiny:
    """The sizes and habits of one tiny model; rope scaling is worded as in a GGUF's `rope.scaling.*` keys."""

    name: str
    arch: str  # as in general.architecture
    family: str = ""  # the model family in transformers, where it is not the arch
    layers: int = 2
    width: int = 64
    heads: int = 4
    kv_heads: int = 2
    head_size: int = 16
    ff: int = 96
    tied: bool = False
    bias: tuple[str, ...] = ()  # among q k v o mlp
    theta: float = 10000.0
    scaling: dict[str, Any] = field(default_factory=dict)
    window: int = 0  # of every layer, in gemma3 of five layers out of six
    experts: int = 0
    experts_used: int = 0
    eps: float = 1e-5

    @property
    def qk_norm(self) -> bool:
        """Whether queries and keys are normalised head by head."""
        return self.arch in ("qwen3", "gemma3")

    @property
    def gemma(self) -> bool:
        """Whether each branch has a norm behind it too, and embeddings are scaled by sqrt(width)."""
        return self.arch == "gemma3"


LLAMA3 = {"type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_context_length": 32}
YARN = {"type": "yarn", "factor": 4.0, "original_context_length": 16}
LINEAR = {"type": "linear", "factor": 4.0}
QKV = ("q", "k", "v")

MODELS: dict[str, Tiny] = {tiny.name: tiny for tiny in (
    Tiny("llama", "llama"),
    Tiny("llama3", "llama", layers=3, heads=8, head_size=16, tied=True, theta=500000.0, scaling=LLAMA3),
    Tiny("llama-bias", "llama", heads=4, kv_heads=4, bias=(*QKV, "o", "mlp"), scaling=LINEAR, eps=0.25),
    Tiny("mistral", "llama", "mistral", kv_heads=1, head_size=32, theta=1e6),
    Tiny("mistral-window", "llama", "mistral", kv_heads=1, head_size=32, window=8),
    Tiny("mixtral", "llama", "mixtral", experts=6, experts_used=2, ff=64, theta=1e6),
    Tiny("qwen2", "qwen2", bias=QKV, theta=1e6, eps=1e-6),
    Tiny("qwen2-yarn", "qwen2", bias=QKV, tied=True, head_size=16, eps=1e-6, scaling=YARN),
    Tiny("qwen3", "qwen3", head_size=32, theta=1e6, eps=1e-6),
    Tiny("gemma3", "gemma3", layers=7, head_size=32, kv_heads=1, tied=True, theta=1e6, eps=1e-6, window=8,
         scaling={"type": "linear", "factor": 8.0}),
)}

#: The smallest models whose rows are whole blocks of 256.
WIDE = {name: replace(MODELS[name], name=f"{name}-wide", width=256, ff=256, head_size=64)
        for name in ("llama", "mixtral")}


def tokens(count: int = TOKENS) -> list[int]:
    """The begin token and made-up ids; the kept runs had TOKENS of them."""
    return [1, *(3 + int(raw % (VOCAB - 3)) for raw in stream("tokens", count - 1))]


def reference(tiny: Tiny) -> np.ndarray:
    """f32[len(ROWS), VOCAB]: what transformers answered at ROWS of `tokens()`."""
    with np.load(DATA / "tiny_logits.npz") as saved:
        return saved[tiny.name]


def weights(tiny: Tiny) -> dict[str, np.ndarray]:
    """Every weight by its GGUF name, f32[out, in] with a head's rotary halves one after the other."""
    given = {name: _value(f"{tiny.name}/{name}", shape) for name, shape in _shapes(tiny)}
    if tiny.gemma:  # scaled up by sqrt(width) again; as large as the others' it would drown the layers
        given["token_embd.weight"] /= 8
    return given


def _shapes(tiny: Tiny) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of all weights: rows are outputs, columns inputs."""
    q, kv, width, ff = tiny.heads * tiny.head_size, tiny.kv_heads * tiny.head_size, tiny.width, tiny.ff
    yield "token_embd.weight", (VOCAB, width)
    for i in range(tiny.layers):
        yield f"blk.{i}.attn_norm.weight", (width,)
        yield f"blk.{i}.ffn_norm.weight", (width,)
        if tiny.gemma:
            yield f"blk.{i}.post_attention_norm.weight", (width,)
            yield f"blk.{i}.post_ffw_norm.weight", (width,)
        if tiny.qk_norm:
            yield f"blk.{i}.attn_q_norm.weight", (tiny.head_size,)
            yield f"blk.{i}.attn_k_norm.weight", (tiny.head_size,)
        for key, name, out, into in (("q", "attn_q", q, width), ("k", "attn_k", kv, width), ("v", "attn_v", kv, width),
                                     ("o", "attn_output", width, q)):
            yield f"blk.{i}.{name}.weight", (out, into)
            if key in tiny.bias:
                yield f"blk.{i}.{name}.bias", (out,)
        experts = (tiny.experts,) if tiny.experts else ()
        suffix = "_exps" if tiny.experts else ""
        if tiny.experts:
            yield f"blk.{i}.ffn_gate_inp.weight", (tiny.experts, width)
        for name, out, into in (("ffn_gate", ff, width), ("ffn_up", ff, width), ("ffn_down", width, ff)):
            yield f"blk.{i}.{name}{suffix}.weight", (*experts, out, into)
            if "mlp" in tiny.bias:
                yield f"blk.{i}.{name}.bias", (out,)
    yield "output_norm.weight", (width,)
    if not tiny.tied:
        yield "output.weight", (VOCAB, width)


def _value(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """f32 array of a name: k/128 times a power of two, k evenly spread over -127..127; around 1 for norms."""
    spread = np.array([raw % 255 for raw in stream(name, math.prod(shape))], np.float32).reshape(shape) - 127
    if name.endswith("_norm.weight"):
        return 1 + spread / 256
    if name.endswith((".bias", "token_embd.weight")):
        return spread / 128
    return spread / 128 * np.float32(2.0 ** round(math.log2(2.5 / math.sqrt(shape[-1]))))


def stream(name: str, count: int) -> np.ndarray:
    """u64[count]: the raw output of a generator seeded by the name; numpy keeps this stream the same for ever."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    return np.random.PCG64(seed).random_raw(count) >> np.uint64(11)
