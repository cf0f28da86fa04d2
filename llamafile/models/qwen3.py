"""Qwen3: each head of Q and K is normalised before it is rotated by halves."""

from __future__ import annotations

from runtime import ops

from .blocks import cached_attention, embed, feed_forward, head, linear, norm
from .positions import rotation


def build(g, keys):
    """Add one forward pass to g; returns the logits [O, vocabulary]."""
    n_embd, layers, vocab = keys.integer("embedding_length"), keys.integer("block_count"), g.vocabulary
    heads = keys.integer("attention.head_count")
    kv_heads = keys.integer("attention.head_count_kv", heads)
    n_ff = keys.integer("feed_forward_length")
    size = keys.integer("attention.key_length", n_embd // heads)
    eps = keys.number("attention.layer_norm_rms_epsilon")
    turn = rotation(g, keys, size)

    x = embed(g, vocab, n_embd)
    for i in range(layers):
        with g.layer(i) as w:
            h = norm(x, w.attn_norm, eps)
            q = norm(linear(h, w.attn_q, heads * size).split(heads), w.attn_q_norm, eps)
            k = norm(linear(h, w.attn_k, kv_heads * size).split(kv_heads), w.attn_k_norm, eps)
            v = linear(h, w.attn_v, kv_heads * size).split(kv_heads)
            q, k = ops.rope(q, turn, halves=1), ops.rope(k, turn, halves=1)
            a = cached_attention(g, i, q, k, v, scale=size**-0.5)
            if i == layers - 1:
                a, x = ops.take_rows(a, g.rows), ops.take_rows(x, g.rows)
            x = x + linear(a, w.attn_output, n_embd)
            x = x + feed_forward(norm(x, w.ffn_norm, eps), w, n_ff)
    return head(g, x, vocab, eps)
