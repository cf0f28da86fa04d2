"""Tiny models of every architecture: made-up weights that numpy alone regenerates, written as GGUF, with kept logits.

`make_logits.py` ran the same weights through `transformers`; data/tiny_logits.npz holds what it said. Weights are
multiples of a power of two with 8 significant bits, so that F32, F16 and BF16 files hold the very same numbers.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import numpy as np

DATA = Path(__file__).with_name("data")
VOCAB = 96
TOKENS = 40  # length of the input; longer than every window and every original context below


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


def tokens() -> list[int]:
    """The input of every kept run: TOKENS ids, the begin token first."""
    return [1, *(3 + int(raw % (VOCAB - 3)) for raw in _stream("tokens", TOKENS - 1))]


def reference(tiny: Tiny) -> np.ndarray:
    """f32[TOKENS, VOCAB]: what transformers answered for `tokens()`."""
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
    spread = np.array([raw % 255 for raw in _stream(name, math.prod(shape))], np.float32).reshape(shape) - 127
    if name.endswith("_norm.weight"):
        return 1 + spread / 256
    if name.endswith((".bias", "token_embd.weight")):
        return spread / 128
    return spread / 128 * np.float32(2.0 ** round(math.log2(2.5 / math.sqrt(shape[-1]))))


def _stream(name: str, count: int) -> np.ndarray:
    """u64[count]: the raw output of a generator seeded by the name; numpy keeps this stream the same for ever."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    return np.random.PCG64(seed).random_raw(count) >> np.uint64(11)


def write(tiny: Tiny, path: Path, kind: str = "F32") -> Path:
    """Write the model as a GGUF whose matrices are of a format that `gguf` can encode; norms and biases stay F32."""
    writer = gguf.GGUFWriter(path, tiny.arch)
    _write_keys(writer, tiny)
    _write_vocabulary(writer, tiny)
    matrices = gguf.GGMLQuantizationType[kind]
    for name, value in weights(tiny).items():
        stored = _as_stored(tiny, name, value)
        if stored.ndim == 1 or "ffn_gate_inp" in name:
            writer.add_tensor(name, stored)
        else:
            writer.add_tensor(name, gguf.quantize(stored, matrices), raw_dtype=matrices)
    if tiny.scaling.get("type") == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_factors(tiny))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _as_stored(tiny: Tiny, name: str, value: np.ndarray) -> np.ndarray:
    """A weight as GGUF lays it out: for llama the two numbers of a rotary pair become neighbours."""
    if tiny.arch == "llama" and (".attn_q." in name or ".attn_k." in name):
        halves = value.reshape(-1, 2, tiny.head_size // 2, *value.shape[1:])
        return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(value.shape)
    return value


def llama3_factors(tiny: Tiny) -> np.ndarray:
    """f32[head_size / 2]: by what each rotary frequency is divided, as Llama 3.1's paper rescales them."""
    scaling = tiny.scaling
    wavelength = 2 * np.pi * tiny.theta ** (np.arange(0, tiny.head_size, 2) / tiny.head_size)
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    smooth = np.clip((scaling["original_context_length"] / wavelength - low) / (high - low), 0, 1)
    return (1 / ((1 - smooth) / scaling["factor"] + smooth)).astype(np.float32)


def _write_keys(writer: gguf.GGUFWriter, tiny: Tiny) -> None:
    def key(name: str, value: int | float) -> None:
        add = writer.add_uint32 if isinstance(value, int) else writer.add_float32
        add(f"{tiny.arch}.{name}", value)

    writer.add_name(f"tiny {tiny.name}")
    key("context_length", 256)
    key("vocab_size", VOCAB)
    key("block_count", tiny.layers)
    key("embedding_length", tiny.width)
    key("feed_forward_length", tiny.ff)
    key("attention.head_count", tiny.heads)
    key("attention.head_count_kv", tiny.kv_heads)
    key("attention.key_length", tiny.head_size)
    key("attention.value_length", tiny.head_size)
    key("attention.layer_norm_rms_epsilon", tiny.eps)
    key("rope.dimension_count", tiny.head_size)
    key("rope.freq_base", tiny.theta)
    if tiny.experts:
        key("expert_count", tiny.experts)
        key("expert_used_count", tiny.experts_used)
    if tiny.window:
        key("attention.sliding_window", tiny.window)
    if tiny.scaling and tiny.scaling["type"] != "llama3":  # llama3's are a tensor
        writer.add_string(f"{tiny.arch}.rope.scaling.type", tiny.scaling["type"])
        key("rope.scaling.factor", tiny.scaling["factor"])
        if "original_context_length" in tiny.scaling:
            key("rope.scaling.original_context_length", tiny.scaling["original_context_length"])


def _write_vocabulary(writer: gguf.GGUFWriter, tiny: Tiny) -> None:
    """A vocabulary of VOCAB entries: three control tokens, the newline byte, a space, letters, pairs of letters."""
    letters = "abcdefghijklmnopqrstuvwxyz.,!?'"
    texts = ["<unk>", "<s>", "</s>", "<0x0A>", "▁", *letters]
    texts += [f"▁{letter}" for letter in letters[:26]]
    pairs = (a + b for a in "etaoinshr" for b in "etaoinshr")
    texts += [next(pairs) for _ in range(VOCAB - len(texts))]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(texts)
    writer.add_token_scores([0.0 if len(t) < 2 or t[0] == "<" else -float(i) for i, t in enumerate(texts)])
    writer.add_token_types([2, 3, 3, 6, *(1 for _ in texts[4:])])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
