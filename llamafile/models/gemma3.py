"""Gemma 3: scaled embeddings, norms before and after each block, five layers with a sliding window to one without."""

from __future__ import annotations

from runtime import ops

from .blocks import cached_attention, embed, feed_forward, head, linear, norm
from .positions import rotation

PATTERN = 6  # each sixth layer sees the whole context
LOCAL_BASE = 10000.0  # the rotation of the layers that do not


def build(g, keys):
    """Add one forward pass to g; returns the logits [O, vocabulary]."""
    n_embd, layers, vocab = keys.integer("embedding_length"), keys.integer("block_count"), g.vocabulary
    heads = keys.integer("attention.head_count")
    kv_heads = keys.integer("attention.head_count_kv", heads)
    n_ff = keys.integer("feed_forward_length")
    size = keys.integer("attention.key_length", 256)
    v_size = keys.integer("attention.value_length", size)
    eps = keys.number("attention.layer_norm_rms_epsilon")
    window = keys.integer("attention.sliding_window", 0, low=0)
    cap = keys.number("final_logit_softcapping", 0.0)
    # The 27B model has 62 layers and scales by the width of a head of its hidden state, not of its queries.
    scale = (n_embd / heads) ** -0.5 if layers == 62 else size**-0.5
    whole = rotation(g, keys, size)
    local = rotation(g, keys, size, base=keys.number("rope.freq_base_swa", LOCAL_BASE), scale=1.0, name="rope_local")

    x = embed(g, vocab, n_embd) * n_embd**0.5
    for i in range(layers):
        far = (i + 1) % PATTERN == 0
        turn = whole if far or not window else local
        with g.layer(i) as w:
            h = norm(x, w.attn_norm, eps)
            q = norm(linear(h, w.attn_q, heads * size).split(heads), w.attn_q_norm, eps)
            k = norm(linear(h, w.attn_k, kv_heads * size).split(kv_heads), w.attn_k_norm, eps)
            v = linear(h, w.attn_v, kv_heads * v_size).split(kv_heads)
            q, k = ops.rope(q, turn, halves=1), ops.rope(k, turn, halves=1)
            a = cached_attention(g, i, q, k, v, scale=scale, window=0 if far else window)
            if i == layers - 1:
                a, x = ops.take_rows(a, g.rows), ops.take_rows(x, g.rows)
            x = x + norm(linear(a, w.attn_output, n_embd), w.post_attention_norm, eps)
            h = feed_forward(norm(x, w.ffn_norm, eps), w, n_ff, ops.geglu)
            x = x + norm(h, w.post_ffw_norm, eps)
    logits = head(g, x, vocab, eps)
    return ops.softcap(logits, cap=cap) if cap else logits
