"""Writes the tiny models as GGUF files with the `gguf` package: plain, encoded, or made of made-up quantised blocks."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from tests.oracles.tiny import VOCAB, Tiny, stream, weights

#: Formats that `gguf` encodes and the engine runs.
ENCODED = ("F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "MXFP4")

#: Formats that `gguf` only decodes: where the F16 scale lies in a block, where that of the minimum (or None), and its
#: ratio to the first that makes the values' mean about zero.
DECODED: dict[str, tuple[int, int | None, float]] = {
    "Q2_K": (80, 82, 1.5), "Q3_K": (108, None, 0), "Q4_K": (0, 2, 7.5), "Q5_K": (0, 2, 15.5), "Q6_K": (208, None, 0),
    "IQ4_NL": (0, None, 0), "IQ4_XS": (0, None, 0),
}


def write(tiny: Tiny, path: Path, kind: str = "F32", *, twin: bool = False) -> Path:
    """Write the model with its matrices in a format, norms, biases and routers in F32.

    Formats of DECODED get made-up blocks instead of the model's weights (rows must be whole blocks). With `twin` the
    file holds in F32 what the format's values decode to.
    """
    writer = gguf.GGUFWriter(path, tiny.arch)
    _write_keys(writer, tiny)
    _write_vocabulary(writer)
    for name, value in weights(tiny).items():
        stored = _as_stored(tiny, name, value)
        if stored.ndim == 1 or "ffn_gate_inp" in name:
            writer.add_tensor(name, stored)
            continue
        data, dtype = _encode(f"{tiny.name}/{name}", stored, kind)
        if twin:
            writer.add_tensor(name, np.asarray(gguf.dequantize(data, dtype), np.float32))
        else:
            writer.add_tensor(name, data, raw_dtype=dtype)
    if tiny.scaling.get("type") == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_factors(tiny))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _encode(name: str, value: np.ndarray, kind: str) -> tuple[np.ndarray, gguf.GGMLQuantizationType]:
    """The bytes of a matrix in a format, as the writer wants them."""
    dtype = gguf.GGMLQuantizationType[kind]
    if kind not in DECODED:
        return gguf.quantize(value, dtype), dtype
    length, size = gguf.GGML_QUANT_SIZES[dtype]
    count = value.size // length
    blocks = (stream(f"{name}/{kind}", count * size) & np.uint64(255)).astype(np.uint8).reshape(count, size)
    place, minimum, ratio = DECODED[kind]

    def scaled(scale: float) -> np.ndarray:
        blocks[:, place:place + 2] = np.frombuffer(np.float16(scale).tobytes(), np.uint8)
        if minimum is not None:
            blocks[:, minimum:minimum + 2] = np.frombuffer(np.float16(scale * ratio).tobytes(), np.uint8)
        return blocks.reshape(*value.shape[:-1], value.shape[-1] // length * size)

    # One scale for all blocks, so that the values spread as the model's do.
    return scaled(float(value.std() / gguf.dequantize(scaled(1.0), dtype).std())), dtype


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
        if isinstance(value, int):
            writer.add_uint32(f"{tiny.arch}.{name}", value)
        else:
            writer.add_float32(f"{tiny.arch}.{name}", value)

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


def _write_vocabulary(writer: gguf.GGUFWriter) -> None:
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
