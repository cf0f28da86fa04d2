"""The sampling parameters: names as in a request, their defaults and bounds, and the order of the chain."""

from __future__ import annotations

from llamafile.errors import LlamafileError

STEPS = {
    "penalties": "e", "dry": "d", "top_n_sigma": "s", "top_k": "k", "typ_p": "y", "top_p": "p", "min_p": "m",
    "xtc": "x", "temperature": "t",
}  # fmt: skip
OTHER_NAMES = {
    "top-n-sigma": "s", "top-k": "k", "typical": "y", "typical_p": "y", "typical-p": "y", "typ-p": "y", "typ": "y",
    "top-p": "p", "nucleus": "p", "min-p": "m", "temp": "t",
}  # fmt: skip
MOST_STEPS = 32
RANDOM_SEEDS = (-1, 0xFFFFFFFF)
INFINITY = float("inf")
HUGE = 1e30
INT_MAX = (1 << 31) - 1

# Field: default, least, greatest, flag. An integer default makes an integer field.
NUMBERS = {
    "temperature": (0.8, -HUGE, HUGE, "--temp"),
    "dynatemp_range": (0.0, 0.0, HUGE, "--dynatemp-range"),
    "dynatemp_exponent": (1.0, 0.0, 1e6, "--dynatemp-exp"),
    "top_k": (40, -1, INT_MAX, "--top-k"),
    "top_p": (0.95, 0.0, HUGE, "--top-p"),
    "min_p": (0.05, 0.0, 1.0, "--min-p"),
    "typical_p": (1.0, 0.0, HUGE, "--typical"),
    "top_n_sigma": (-1.0, -HUGE, HUGE, "--top-n-sigma"),
    "xtc_probability": (0.0, 0.0, 1.0, "--xtc-probability"),
    "xtc_threshold": (0.1, 0.0, 1.0, "--xtc-threshold"),
    "repeat_penalty": (1.0, 1e-6, 1e6, "--repeat-penalty"),
    "repeat_last_n": (64, -1, INT_MAX, "--repeat-last-n"),
    "presence_penalty": (0.0, -1e6, 1e6, "--presence-penalty"),
    "frequency_penalty": (0.0, -1e6, 1e6, "--frequency-penalty"),
    "dry_multiplier": (0.0, 0.0, 1e6, "--dry-multiplier"),
    "dry_base": (1.75, 1.0, 1e6, "--dry-base"),
    "dry_allowed_length": (2, 0, INT_MAX, "--dry-allowed-length"),
    "dry_penalty_last_n": (-1, -1, INT_MAX, "--dry-penalty-last-n"),
    "mirostat": (0, 0, 2, "--mirostat"),
    "mirostat_tau": (5.0, 0.0, 1e3, "--mirostat-ent"),
    "mirostat_eta": (0.1, 0.0, 1e3, "--mirostat-lr"),
    "seed": (-1, -1, 0xFFFFFFFF, "--seed"),
    "min_keep": (0, 0, INT_MAX, "min_keep"),
    "n_probs": (0, 0, INT_MAX, "n_probs"),
}


class Params:
    """How to choose tokens; every field has llama.cpp's default (its repeat penalty is 1, llamafile 0.9's was 1.1)."""

    __slots__ = (*NUMBERS, "dry_sequence_breakers", "ignore_eos", "logit_bias", "samplers")

    temperature: float  # 0 or less: always the best candidate
    dynatemp_range: float  # 0: off
    dynatemp_exponent: float
    top_k: int  # 0 or less: off
    top_p: float  # 1: off
    min_p: float  # 0: off
    typical_p: float  # 1: off
    top_n_sigma: float  # 0 or less: off
    xtc_probability: float  # 0: off
    xtc_threshold: float  # above 0.5: off
    repeat_penalty: float  # 1: off
    repeat_last_n: int  # tokens of the past that count; 0: off, -1: all that fits the context
    presence_penalty: float
    frequency_penalty: float
    dry_multiplier: float  # 0: off
    dry_base: float
    dry_allowed_length: int
    dry_penalty_last_n: int  # as repeat_last_n
    mirostat: int  # 1 or 2: instead of all but the penalties and the temperature; 0: off
    mirostat_tau: float
    mirostat_eta: float
    seed: int  # -1: a random one
    min_keep: int  # candidates that typical, top-p, min-p and xtc leave at least
    n_probs: int  # best tokens to report with each token; the caller asks the sampler for them
    samplers: object  # the chain: names joined by `;` or in a list, or letters of edskypmxt
    logit_bias: object  # id: number to add, or False to ban; a list of such pairs is as good
    ignore_eos: object
    dry_sequence_breakers: object  # texts, or sequences of token ids

    def __init__(self, **fields: object) -> None:
        """Set the fields given by name; the rest have their defaults. Nothing is checked before `check`."""
        for name, (default, _, _, _) in NUMBERS.items():
            setattr(self, name, default)
        self.samplers = ";".join(STEPS)
        self.logit_bias = {}
        self.ignore_eos = False
        self.dry_sequence_breakers = ("\n", ":", '"', "*")
        for name, value in fields.items():
            setattr(self, name, value)

    def check(self) -> None:
        """Raise LlamafileError, naming the flag, where a value is of the wrong kind or out of its bounds."""
        for name, (default, least, most, flag) in NUMBERS.items():
            _check_number(flag, getattr(self, name), type(default), least, most)
        letters(self.samplers)
        biases(self.logit_bias)


def _check_number(flag: str, value: object, kind: type, least: float, most: float) -> None:
    whole = kind is int
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise LlamafileError(f"{flag}: {value!r} is not a {'whole ' if whole else ''}number; {_bounds(least, most)}")
    if not least <= value <= most:  # so NaN fails too
        raise LlamafileError(f"{flag}: {value} is out of bounds; {_bounds(least, most)}")


def _bounds(least: float, most: float) -> str:
    if least == -HUGE:
        return "give a finite number"
    return f"give a number of at least {least:g}" if most in (HUGE, INT_MAX) else f"give one from {least:g} to {most:g}"


def letters(samplers: object) -> str:
    """Return the chain as letters of edskypmxt, from a name, names joined by `;`, those letters, or a list of names."""
    names = samplers
    if isinstance(samplers, str):
        if samplers not in STEPS and samplers not in OTHER_NAMES and not set(samplers) - set(STEPS.values()):
            names = list(samplers)
        else:
            names = [word.strip() for word in samplers.split(";") if word.strip()]
    if not isinstance(names, (list, tuple)):
        raise LlamafileError(f"--samplers: {samplers!r} is not a list of names; give {';'.join(STEPS)}")
    known = {**STEPS, **OTHER_NAMES, **{letter: letter for letter in STEPS.values()}}
    for name in names:
        if not isinstance(name, str) or name not in known:
            raise LlamafileError(f"--samplers: there is no sampler {name!r}; choose from {';'.join(STEPS)}")
    if len(names) > MOST_STEPS:
        raise LlamafileError(f"--samplers: {len(names)} samplers are too many; give at most {MOST_STEPS}")
    return "".join(known[name] for name in names)


def biases(logit_bias: object) -> dict[int, float]:
    """Return the biases as id: number; `False` bans as -inf does, and biases of one id given twice add up."""
    pairs = list(logit_bias.items()) if isinstance(logit_bias, dict) else logit_bias
    found: dict[int, float] = {}
    for pair in pairs if isinstance(pairs, (list, tuple)) else [pairs]:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise LlamafileError(f"--logit-bias: {pair!r} is not a token and its bias; give ID+BIAS or ID-BIAS")
        token, bias = pair
        if isinstance(token, bool) or not isinstance(token, int) or token < 0:
            raise LlamafileError(f"--logit-bias: {token!r} is not the id of a token; give a whole number")
        if bias is False:
            bias = -INFINITY
        if bias is True or not isinstance(bias, (int, float)) or not (abs(bias) <= HUGE or abs(bias) == INFINITY):
            raise LlamafileError(f"--logit-bias: {bias!r} is not a bias for token {token}; give a number")
        found[token] = found.get(token, 0.0) + bias
    return found
