"""Regenerates data/tiny_logits.npz: runs every tiny model of `tiny.py` in transformers (F32, eager attention, CPU).

Run `python -m tests.oracles.make_logits` where torch 2.13.0, transformers 5.23.0 and gguf are installed; the tests
need neither of the first two.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import (
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    Qwen2Config,
    Qwen3Config,
)
from transformers.models.auto import AutoModelForCausalLM

from tests.oracles import tiny
from tests.oracles.tiny import DATA, MODELS, Tiny

CONFIGS = {"llama": LlamaConfig, "mistral": MistralConfig, "mixtral": MixtralConfig, "qwen2": Qwen2Config,
           "qwen3": Qwen3Config, "gemma3": Gemma3TextConfig}

NAMES = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
         "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
         "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm", "ffn_gate": "mlp.gate_proj",
         "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj", "ffn_gate_inp": "mlp.gate",
         "ffn_down_exps": "mlp.experts.down_proj"}
GEMMA_NAMES = {"ffn_norm": "pre_feedforward_layernorm", "post_attention_norm": "post_attention_layernorm",
               "post_ffw_norm": "post_feedforward_layernorm"}
TOP_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def rope_parameters(model: Tiny) -> dict[str, Any]:
    """The model's rotary settings in transformers' words."""
    kind = {"rope_type": "default", "rope_theta": model.theta}
    if model.scaling:
        given = dict(model.scaling)
        kind |= {"rope_type": given.pop("type"), "factor": given.pop("factor")}
        if "original_context_length" in given:
            kind["original_max_position_embeddings"] = given.pop("original_context_length")
        kind |= given
    if model.gemma:  # the key scales the global layers only; the others turn by 10000, unscaled
        return {"full_attention": kind, "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}
    return kind


def config(model: Tiny) -> Any:
    """The model's configuration in transformers' words."""
    words = {"vocab_size": tiny.VOCAB, "hidden_size": model.width, "intermediate_size": model.ff,
             "num_hidden_layers": model.layers, "num_attention_heads": model.heads,
             "num_key_value_heads": model.kv_heads, "head_dim": model.head_size, "rms_norm_eps": model.eps,
             "tie_word_embeddings": model.tied, "rope_parameters": rope_parameters(model),
             "max_position_embeddings": 256, "attn_implementation": "eager"}
    family = model.family or model.arch
    if family == "llama":
        words |= {"attention_bias": "q" in model.bias, "mlp_bias": "mlp" in model.bias}
    if family in ("mistral", "mixtral", "gemma3"):
        words["sliding_window"] = model.window or None
    if family == "mixtral":
        words |= {"num_local_experts": model.experts, "num_experts_per_tok": model.experts_used}
    if family == "gemma3":
        words["query_pre_attn_scalar"] = model.head_size
    return CONFIGS[family](**words)


def state(model: Tiny) -> dict[str, torch.Tensor]:
    """The model's weights under transformers' names."""
    given = tiny.weights(model)
    named = {}
    for name, value in given.items():
        if name.startswith("blk."):
            _, layer, stem, kind = name.split(".")
            if stem == "ffn_up_exps":
                continue
            if stem == "ffn_gate_exps":  # transformers keeps gate and up in one tensor
                fused = np.concatenate([value, given[name.replace("gate", "up")]], axis=1)
                named[f"model.layers.{layer}.mlp.experts.gate_up_proj"] = fused
                continue
            target = GEMMA_NAMES.get(stem) if model.gemma else None
            full = f"model.layers.{layer}.{target or NAMES[stem]}"
            named[full if stem.endswith("_exps") else f"{full}.{kind}"] = value
        else:
            stem, kind = name.split(".")
            named[f"{TOP_NAMES[stem]}.{kind}"] = value
    if model.gemma:  # its norms multiply by 1 + weight
        named = {name: value - 1 if "norm" in name else value for name, value in named.items()}
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in named.items()}


def run(model: Tiny) -> np.ndarray:
    """f32[len(ROWS), VOCAB]: transformers' logits; every weight of the network must have been given."""
    network = AutoModelForCausalLM.from_config(config(model)).eval()
    missing, unexpected = network.load_state_dict(state(model), strict=False)
    allowed = {"lm_head.weight"} if model.tied else set()
    if unexpected or set(missing) - allowed:
        raise RuntimeError(f"{model.name}: missing {missing}, unexpected {unexpected}")
    with torch.no_grad():
        return network(torch.tensor([tiny.tokens()])).logits[0, list(tiny.ROWS)].float().numpy()


if __name__ == "__main__":
    torch.manual_seed(0)
    DATA.mkdir(exist_ok=True)
    kept: dict[str, Any] = {name: run(model) for name, model in MODELS.items()}
    np.savez_compressed(DATA / "tiny_logits.npz", **kept)
