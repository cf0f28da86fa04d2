"""Pieces that many architectures share. A block never asks which architecture it is in."""

from __future__ import annotations

from runtime import ops


def linear(x, w, n):
    """Map the last dimension of x to n features with the matrix w, and its bias where the file has one."""
    y = ops.matmul(x, w.matrix(n, x.shape[-1]))
    return ops.add_row(y, w.vector(n, "bias")) if w.has("bias") else y


def norm(x, w, eps):
    """RMS norm over the last dimension with the vector w."""
    return ops.rms_norm(x, w.vector(x.shape[-1]), eps=eps)


def embed(g, vocab, n):
    """The rows of the token table for the call's tokens."""
    return ops.embed(g.tokens, g.top("token_embd").matrix(vocab, n))


def cached_attention(g, i, q, k, v, **attrs):
    """Attention of q over the cache of layer i, to which k and v are added; heads merged."""
    keys, values = g.cache(f"k{i}", k, 0), g.cache(f"v{i}", v, 1)
    out = ops.attention(q, keys, values, g.positions, g.starts, g.lengths, g.pages, g.cell_positions, **attrs)
    return out.merge()


def feed_forward(x, w, n_ff, act=ops.swiglu):
    """The gated feed-forward network."""
    n = x.shape[-1]
    return linear(act(linear(x, w.ffn_gate, n_ff), linear(x, w.ffn_up, n_ff)), w.ffn_down, n)


def experts(x, w, count, used, n_ff, normalize=True):
    """A mixture of experts, each a gated feed-forward network; the router's weights sum to one."""
    n = x.shape[-1]
    ids, weights = ops.route(linear(x, w.ffn_gate_inp, count), used=used, normalize=int(normalize))
    shared = x.view((x.shape[0], 1, n), (x.strides[0], n, 1))
    gate = ops.matmul_ids(shared, w.ffn_gate_exps.matrix(count, n_ff, n), ids)
    up = ops.matmul_ids(shared, w.ffn_up_exps.matrix(count, n_ff, n), ids)
    down = ops.matmul_ids(ops.swiglu(gate, up), w.ffn_down_exps.matrix(count, n, n_ff), ids)
    return ops.weighted_sum(down, weights)


def head(g, x, vocab, eps):
    """The last norm, and the product with the output table or, where the file has none, with the token table."""
    g.hidden = norm(x, g.top("output_norm"), eps)
    table = g.top("output") if g.top("output").has() else g.top("token_embd")
    return linear(g.hidden, table, vocab)
