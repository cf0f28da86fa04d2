"""Ops that treat each value, or each pair of values, alone."""

from __future__ import annotations

from .declare import np, op


@op
def add(x: f32[..., n], y: f32[..., n]) -> f32[..., n]:
    """x plus y."""
    return x + y


@op
def add_row(x: f32[..., n], y: f32[n]) -> f32[..., n]:
    """x with the vector y added to each row: a bias."""
    return x + y


@op
def mul(x: f32[..., n], y: f32[..., n]) -> f32[..., n]:
    """x times y."""
    return x * y


@op
def scale(x: f32[..., n], *, by: float) -> f32[..., n]:
    """x times a number."""
    return x * np.float32(by)


@op
def softcap(x: f32[..., n], *, cap: float) -> f32[..., n]:
    """Squeeze x smoothly into -cap .. cap."""
    return np.float32(cap) * np.tanh(x / np.float32(cap))


@op
def swiglu(gate: f32[..., n], up: f32[..., n]) -> f32[..., n]:
    """SiLU of the gate, times up."""
    return gate / (1 + np.exp(-gate.clip(-80))) * up


@op
def geglu(gate: f32[..., n], up: f32[..., n]) -> f32[..., n]:
    """GELU (in its tanh form) of the gate, times up."""
    return 0.5 * gate * (1 + np.tanh(np.float32(0.7978845608028654) * (gate + 0.044715 * gate**3))) * up
