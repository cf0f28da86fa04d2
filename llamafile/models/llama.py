"""Llama 1, 2 and 3, Mistral, Mixtral: RMS norm, rotary positions, grouped-query attention, SwiGLU or experts."""

from __future__ import annotations

from runtime import ops

from .blocks import cached_attention, embed, experts, feed_forward, head, linear, norm
from .positions import rotation


def build(g, keys):
    """Add one forward pass to g; returns the logits [O, vocabulary]."""
    n_embd, layers, vocab = keys.integer("embedding_length"), keys.integer("block_count"), g.vocabulary
    heads = keys.integers("attention.head_count", layers)
    kv_heads = keys.integers("attention.head_count_kv", layers, heads[0])
    n_ff = keys.integers("feed_forward_length", layers)
    size = keys.integer("attention.key_length", n_embd // heads[0])
    v_size = keys.integer("attention.value_length", size)
    eps = keys.number("attention.layer_norm_rms_epsilon")
    window = keys.integer("attention.sliding_window", 0, low=0)
    count, used = keys.integer("expert_count", 0, low=0), keys.integer("expert_used_count", 0, low=0)
    turn = rotation(g, keys, size)

    x = embed(g, vocab, n_embd)
    for i in range(layers):
        with g.layer(i) as w:
            h = norm(x, w.attn_norm, eps)
            q = ops.rope(linear(h, w.attn_q, heads[i] * size).split(heads[i]), turn)
            k = ops.rope(linear(h, w.attn_k, kv_heads[i] * size).split(kv_heads[i]), turn)
            v = linear(h, w.attn_v, kv_heads[i] * v_size).split(kv_heads[i])
            a = cached_attention(g, i, q, k, v, scale=size**-0.5, window=window)
            if i == layers - 1:
                a, x = ops.take_rows(a, g.rows), ops.take_rows(x, g.rows)
            x = x + linear(a, w.attn_output, n_embd)
            h = norm(x, w.ffn_norm, eps)
            x = x + (experts(h, w, count, used, n_ff[i]) if count else feed_forward(h, w, n_ff[i]))
    return head(g, x, vocab, eps)
