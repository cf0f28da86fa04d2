"""A plain numpy forward pass in F32 of llama- and qwen2-family GGUF files: one sequence, no cache, no cleverness."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np


class NumpyModel:
    """A GGUF read by the `gguf` package, its weights dequantised to F32."""

    def __init__(self, path: Path):
        reader = gguf.GGUFReader(path)
        self.keys: dict[str, Any] = {name: field.contents() for name, field in reader.fields.items()
                                     if not name.startswith("tokenizer.")}
        self.arch = self.keys["general.architecture"]
        if self.arch not in ("llama", "qwen2"):
            raise ValueError(f"{path}: {self.arch} is not one of llama, qwen2")
        self._tensors = {t.name: t for t in reader.tensors}
        self._decoded: dict[str, np.ndarray] = {}

    def key(self, name: str, default: Any = None) -> Any:
        """The value of `<architecture>.<name>`, or the default."""
        return self.keys.get(f"{self.arch}.{name}", default)

    def tensor(self, name: str) -> np.ndarray | None:
        """A tensor as f32[out, in] (or f32[n]), or None where the file has none of that name."""
        if name not in self._decoded:
            stored = self._tensors.get(name)
            if stored is None:
                return None
            self._decoded[name] = np.asarray(gguf.dequantize(stored.data, stored.tensor_type), np.float32)
        return self._decoded[name]

    def logits(self, ids: list[int]) -> np.ndarray:
        """f32[len(ids), vocab]: logits after each token."""
        output = self.tensor("output.weight")
        if output is None:
            output = self.tensor("token_embd.weight")
        assert output is not None
        return self.hidden(ids) @ output.T

    def hidden(self, ids: list[int]) -> np.ndarray:
        """f32[len(ids), width]: what the last norm gives for each token."""
        eps = self.key("attention.layer_norm_rms_epsilon")
        embedding = self.tensor("token_embd.weight")
        assert embedding is not None
        x = embedding[np.asarray(ids)]
        for layer in range(self.key("block_count")):
            x = x + self._attention(layer, self._norm(x, f"blk.{layer}.attn_norm.weight", eps))
            h = self._norm(x, f"blk.{layer}.ffn_norm.weight", eps)
            gate = self._linear(h, f"blk.{layer}.ffn_gate")
            x = x + self._linear(gate / (1 + np.exp(-gate)) * self._linear(h, f"blk.{layer}.ffn_up"),
                                 f"blk.{layer}.ffn_down")
        return self._norm(x, "output_norm.weight", eps)

    def _norm(self, x: np.ndarray, name: str, eps: float) -> np.ndarray:
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(eps)) * self.tensor(name)

    def _linear(self, x: np.ndarray, name: str) -> np.ndarray:
        weight, bias = self.tensor(f"{name}.weight"), self.tensor(f"{name}.bias")
        assert weight is not None, name
        y = x @ weight.T
        return y if bias is None else y + bias

    def _attention(self, layer: int, h: np.ndarray) -> np.ndarray:
        count, heads = len(h), self.key("attention.head_count")
        shared = heads // self.key("attention.head_count_kv", heads)
        q, k, v = (self._linear(h, f"blk.{layer}.attn_{which}").reshape(count, n, -1).swapaxes(0, 1)
                   for which, n in (("q", heads), ("k", heads // shared), ("v", heads // shared)))
        q, k = self._rope(q), np.repeat(self._rope(k), shared, 0)
        scores = q @ k.swapaxes(1, 2) / np.float32(np.sqrt(q.shape[-1]))
        scores = np.where(np.tri(count, dtype=bool), scores, np.float32(-np.inf))
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        mixed = weights @ np.repeat(v, shared, 0)
        return self._linear(mixed.swapaxes(0, 1).reshape(count, -1), f"blk.{layer}.attn_output")

    def _rope(self, x: np.ndarray) -> np.ndarray:
        """Turn f32[heads, tokens, size]: llama pairs neighbours, qwen2 pairs the halves."""
        size = x.shape[-1]
        pair = np.arange(size // 2)
        angle = np.arange(x.shape[1])[:, None] * self.key("rope.freq_base", 10000.0) ** (-2.0 * pair / size)
        factors = self.tensor("rope_freqs.weight")
        if factors is not None:
            angle = angle / factors
        cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
        first, second = (2 * pair, 2 * pair + 1) if self.arch == "llama" else (pair, pair + size // 2)
        out = np.empty_like(x)
        out[..., first] = x[..., first] * cos - x[..., second] * sin
        out[..., second] = x[..., first] * sin + x[..., second] * cos
        return out
