"""Rotary positions in all their kinds: plain, linear, NTK-aware, YaRN, and the factors of Llama 3."""

from __future__ import annotations

from llamafile.errors import LlamafileError
from runtime import ops


class Rope:
    """What a user may set over the file's keys; None leaves the file's own."""

    __slots__ = (
        "attn_factor", "beta_fast", "beta_slow", "ext_factor", "freq_base", "freq_scale", "orig_ctx", "scaling",
    )  # fmt: skip

    def __init__(self, **given):
        for name in self.__slots__:
            setattr(self, name, given.get(name))


def pick(value, otherwise):
    """The value where one is given."""
    return otherwise if value is None else value


def _above(label, name, value, low=0):
    """Refuse what is no finite number above `low`: what follows takes its logarithm or divides by it."""
    if not low < value < 1e30:
        raise LlamafileError(f"{label}: {name} is {value}, it must be above {low}; mend the flag or the file")


def rotation(g, keys, size, base=None, scale=None, name="rope"):
    """The table of cosines and sines for heads of `size`; base and scale override the file's (layers of their own)."""
    dims = keys.integer("rope.dimension_count", size)
    if dims % 2 or dims > size:
        raise LlamafileError(f"{g.label}: {dims} rotated values do not fit heads of {size}; the file is damaged")
    user = g.rope
    base = pick(base, pick(user.freq_base, keys.number("rope.freq_base", 10000.0)))
    _above(g.label, "rope.freq_base", base, 1)
    frequencies = [base ** (-i / dims) for i in range(0, dims, 2)]
    frequencies, magnitude = _scaled(keys, user, frequencies, base, scale)
    if g.top("rope_freqs").has():
        frequencies = [f / factor for f, factor in zip(frequencies, g.floats("rope_freqs.weight", dims // 2))]
    return ops.rotation(g.positions, g.constant(name, frequencies), magnitude=magnitude)


def _scaled(keys, user, frequencies, base, scale):
    """The frequencies as the scaling asks, and the magnitude that goes with it."""
    kind = pick(user.scaling, keys.text("rope.scaling.type", "linear" if keys.has("rope.scale_linear") else "none"))
    factor = keys.number("rope.scaling.factor", keys.number("rope.scale_linear", 1.0))
    scale = pick(scale, pick(user.freq_scale, 1 / factor if factor > 0 and kind != "none" else 1.0))
    _above(keys.file.label, "rope.scaling.factor", scale)
    if kind == "yarn":
        return _yarn(keys, user, frequencies, base, scale)
    if kind not in ("none", "linear", "longrope", "llama3"):
        raise LlamafileError(f"{keys.file.label}: rope scaling {kind} is not supported; use none, linear or yarn")
    return [f * scale for f in frequencies], 1.0


def _yarn(keys, user, frequencies, base, scale):
    """YaRN (Peng et al. 2023): fast dims stay, slow ones are interpolated, a ramp between; values grow a little."""
    from math import log, pi

    context = pick(user.orig_ctx, keys.integer("rope.scaling.original_context_length", keys.integer("context_length")))
    fast = pick(user.beta_fast, keys.number("rope.scaling.yarn_beta_fast", 32.0))
    slow = pick(user.beta_slow, keys.number("rope.scaling.yarn_beta_slow", 1.0))
    for name, turns in (("yarn_beta_fast", fast), ("yarn_beta_slow", slow)):
        _above(keys.file.label, name, turns)
    mix = pick(user.ext_factor, 1.0)
    dims = 2 * len(frequencies)

    def dimension(turns):  # the pair that turns so often over the original context
        return dims * log(context / (turns * 2 * pi)) / (2 * log(base))

    low, high = max(0.0, float(int(dimension(fast)))), min(dims - 1.0, float(int(dimension(slow)) + 1))
    out = []
    for i, f in enumerate(frequencies):
        keep = (1 - min(1.0, max(0.0, (i - low) / max(0.001, high - low)))) * mix
        out.append(f * scale * (1 - keep) + f * keep)
    magnitude = pick(user.attn_factor, keys.number("rope.scaling.attn_factor", 1.0))
    return out, magnitude * (1 + 0.1 * log(1 / scale)) if mix else magnitude
