"""Choosing the next token: a chain of steps over a row of logits, in C; the same seed makes the same choices."""

from __future__ import annotations

import os

from llamafile._native import ffi, lib
from llamafile.errors import LlamafileError

from .params import RANDOM_SEEDS, Params, biases, letters

__all__ = ["Params", "Sampler"]

_PLAIN = (
    "temperature", "dynatemp_range", "dynatemp_exponent", "top_p", "min_p", "typical_p", "top_n_sigma",
    "xtc_probability", "xtc_threshold", "repeat_penalty", "presence_penalty", "frequency_penalty", "dry_multiplier",
    "dry_base", "mirostat_tau", "mirostat_eta", "top_k", "min_keep", "mirostat", "repeat_last_n",
    "dry_penalty_last_n", "dry_allowed_length",
)  # fmt: skip


class Sampler:
    """One timeline's sampler; not to be used by two threads at once. `handle` is what C code takes (lf_sampler *)."""

    __slots__ = ("handle", "n_vocab", "params", "seed")

    def __init__(self, params: Params, n_vocab: int, n_context: int, *, eog=(), breakers=None) -> None:
        """Make a sampler for a vocabulary and a context's length in tokens; raise LlamafileError for bad parameters.

        `eog` are the ids that ignore_eos bans. `breakers`, a function from dry_sequence_breakers to sequences of ids,
        is called only where DRY is on; without it those must be ids already.
        """
        params.check()
        self.params = params
        self.n_vocab = n_vocab
        self.seed = int.from_bytes(os.urandom(4), "little") % 0xFFFFFFFF if params.seed in RANDOM_SEEDS else params.seed
        self.handle = _new(params, n_vocab, n_context, self.seed, eog, breakers)

    def sample(self, logits, mask=None) -> int:
        """Return the id chosen from f32[n_vocab] logits, an address or cdata; they are only read.

        `mask`, uint32[(n_vocab + 31) // 32] as an address or cdata, has bit i % 32 of word i // 32 set for what may
        come. Raise LlamafileError where nothing may.
        """
        token = lib.lf_sampler_sample(self.handle, _floats(logits), ffi.NULL if mask is None else _words(mask))
        if token < 0:
            raise LlamafileError("sampling: every token is ruled out; loosen --logit-bias or the grammar")
        return token

    def accept(self, token: int) -> None:
        """Append a token to the past that the penalties look at."""
        self.accept_all((token,))

    def accept_all(self, tokens) -> None:
        """Append tokens, a prompt's say, to the past that the penalties look at; raise ValueError for a strange id."""
        try:
            ids = ffi.new("int32_t[]", list(tokens))
            strange = lib.lf_sampler_accept(self.handle, ids, len(ids))
        except OverflowError:
            strange = True
        if strange:
            raise ValueError(f"a token lies outside the vocabulary of {self.n_vocab}")

    def clone(self) -> Sampler:
        """Return a second sampler in the same state: it will make the same choices."""
        twin = object.__new__(Sampler)
        twin.params, twin.n_vocab, twin.seed = self.params, self.n_vocab, self.seed
        twin.handle = _owned(lib.lf_sampler_clone(self.handle))
        return twin

    def reset(self) -> None:
        """Forget the past and go back to the seed's first draw."""
        lib.lf_sampler_reset(self.handle)

    def logprobs(self, logits, token: int, n: int) -> tuple[float, list[tuple[int, float]]]:
        """Return the natural log-probability of a token and the best n (id, logprob) by the model's own logits."""
        return self._report(n, lib.lf_sampler_logprobs, _floats(logits), token)

    def drawn_logprobs(self, token: int, n: int) -> tuple[float, list[tuple[int, float]]]:
        """Return the same of the distribution that the last `sample` drew from, whose logits must still be there."""
        return self._report(n, lib.lf_sampler_drawn_logprobs, token)

    def _report(self, n, function, *arguments) -> tuple[float, list[tuple[int, float]]]:
        n = max(0, min(n, self.n_vocab))
        own, ids, values = ffi.new("double *"), ffi.new("int32_t[]", n), ffi.new("double[]", n)
        found = function(self.handle, *arguments, own, n, ids, values)
        if found < 0:
            raise ValueError("there is no distribution to report on")
        return own[0], [(ids[i], values[i]) for i in range(found)]


def _floats(logits):
    return ffi.cast("const float *", logits)


def _words(mask):
    return ffi.cast("const uint32_t *", mask)


def _owned(handle):
    if handle == ffi.NULL:
        raise MemoryError
    return ffi.gc(handle, lib.lf_sampler_free)


def _new(params: Params, n_vocab: int, n_context: int, seed: int, eog, breakers):
    """Fill in the C structure, which copies all that it is given, and make the sampler."""
    chain = letters(params.samplers)
    added = sorted(_all_biases(params, n_vocab, eog).items())
    words = _breaker_words(params, chain, breakers)
    given = ffi.new("lf_sampler_params *", {name: getattr(params, name) for name in _PLAIN})
    # The structure holds addresses only: these names keep what they point to alive during the call.
    steps, ids = ffi.new("char[]", chain.encode()), ffi.new("int32_t[]", [token for token, _ in added])
    values, sequences = ffi.new("float[]", [bias for _, bias in added]), ffi.new("int32_t[]", words)
    given.n_vocab, given.n_context, given.seed = n_vocab, n_context, seed
    given.steps, given.n_steps = steps, len(chain)
    given.bias_ids, given.biases, given.n_biases = ids, values, len(added)
    given.breakers, given.n_breaker_words = sequences, len(words)
    problem = ffi.new("const char **")
    handle = lib.lf_sampler_new(given, problem)
    if handle == ffi.NULL:
        raise LlamafileError(f"sampling: {ffi.string(problem[0]).decode()}; check the model and the sampling flags")
    return _owned(handle)


def _all_biases(params: Params, n_vocab: int, eog) -> dict[int, float]:
    added = biases(params.logit_bias)
    for token in added:
        if token >= n_vocab:
            raise LlamafileError(f"--logit-bias: there is no token {token}; the vocabulary ends at {n_vocab - 1}")
    if params.ignore_eos:
        added.update(dict.fromkeys(eog, float("-inf")))
    return added


def _breaker_words(params, chain: str, breakers) -> list[int]:
    """The sequences by ascending first id, each as its length and its ids; none where DRY is off."""
    if "d" not in chain or not params.dry_multiplier or not params.dry_penalty_last_n:
        return []
    sequences = breakers(params.dry_sequence_breakers) if breakers else params.dry_sequence_breakers
    words: list[int] = []
    for sequence in sorted(list(s) for s in sequences if s):
        words += [len(sequence), *sequence]
    return words
