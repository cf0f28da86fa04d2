"""What clients of the scheduler hand in and get back: a request, pieces of its answer, the end, a refusal."""

from __future__ import annotations

from llamafile.errors import LlamafileError
from llamafile.sampling import Params

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

POOLING = ("none", "mean", "cls", "last")


class Refused(LlamafileError):
    """A request that is not served: `code` is the HTTP status, `type` and `fields` are those of the error's body.

    400 invalid_request_error; 400 exceed_context_size_error (fields n_prompt_tokens, n_ctx); 503 unavailable_error
    (field retry_after, seconds); 500 server_error, delivered in place of a Result where the answer broke off.
    """

    def __init__(self, code: int, type: str, message: str, **fields: object) -> None:
        super().__init__(message)
        self.code, self.type, self.message, self.fields = code, type, message, fields


class Request:
    """One prompt and how to answer it; plain attributes, checked by Scheduler.submit.

    prompt: token ids, at least one. params: llamafile.sampling.Params (logit_bias, ignore_eos and the seed are there).
    n_predict: tokens at most; -1 no bound of its own, -2 until the context is full. 0 only reads the prompt.
    stop: texts that end the answer and are not part of it. n_keep: tokens at the beginning that a context shift keeps
    (-1: the whole prompt). context_shift: whether a full context drops half of the rest; else the answer ends there.
    constraint: a Grammar (a matcher is made of it) or a Matcher of its own: fill(mask), accept(token), finished, and
    `free` where it has one, True while anything may come.
    n_probs: best tokens to report with each token (0: none are reported), of the model's own distribution, or with
    post_sampling_probs of the one that was drawn from. cache_prompt: whether cells that are there already are used.
    id_slot: the slot to wait for, -1 any. t_max_predict_ms: ends the answer so long after its first token (0: never).
    special: whether control tokens are written out. return_progress: Deltas report on the prompt as it is read.
    draft_max, draft_min: tokens guessed ahead at most (0: none are) and at least; draft_p_min: how sure a draft model
    has to be. None is the scheduler's own. The text is the same whatever they are.
    kind: "completion", or "embedding" with pooling none (a row for each token), mean, cls, last; None is the model's
    own, else mean. The Result then has rows of floats as the last norm gives them: not normalised.
    """

    __slots__ = (
        "cache_prompt", "constraint", "context_shift", "draft_max", "draft_min", "draft_p_min", "id_slot", "kind",
        "n_keep", "n_predict", "n_probs", "params", "pooling", "post_sampling_probs", "prompt", "return_progress",
        "special", "stop", "t_max_predict_ms",
    )  # fmt: skip

    def __init__(
        self, prompt, params=None, *, n_predict=-1, stop=(), n_keep=0, context_shift=False, constraint=None, n_probs=0,
        post_sampling_probs=False, cache_prompt=True, id_slot=-1, t_max_predict_ms=0, special=False,
        return_progress=False, kind="completion", pooling=None, draft_max=None, draft_min=None,
        draft_p_min=None,
    ) -> None:  # fmt: skip
        self.prompt, self.params = list(prompt), params or Params()
        self.n_predict, self.stop, self.n_keep, self.context_shift = n_predict, tuple(stop), n_keep, context_shift
        self.constraint, self.n_probs, self.post_sampling_probs = constraint, n_probs, post_sampling_probs
        self.cache_prompt, self.id_slot, self.t_max_predict_ms = cache_prompt, id_slot, t_max_predict_ms
        self.special, self.return_progress = special, return_progress
        self.kind, self.pooling = kind, pooling
        self.draft_max, self.draft_min, self.draft_p_min = draft_max, draft_min, draft_p_min

    def check(self, n_vocab: int) -> None:
        """Raise Refused(400) where a value cannot be served by a vocabulary of n_vocab tokens."""
        if not self.prompt:
            raise _bad("prompt: is empty; give at least one token")
        for token in self.prompt:
            if not 0 <= token < n_vocab:
                raise _bad(f"prompt: there is no token {token}; the vocabulary ends at {n_vocab - 1}")
        if self.kind not in ("completion", "embedding"):
            raise _bad(f"kind: {self.kind!r} is neither completion nor embedding")
        if self.pooling is not None and self.pooling not in POOLING:
            raise _bad(f"pooling: {self.pooling!r} is not supported; choose from {', '.join(POOLING)}")
        try:
            self.params.check()
        except LlamafileError as problem:
            raise _bad(str(problem)) from None


class Delta:
    """The next piece of an answer.

    text: whole characters, nothing that may turn out to be the beginning of a stop text; may be empty. tokens: the ids
    chosen since the last Delta, the ones held back included. probs: None, or for each of these tokens {id, token,
    bytes, logprob, top_logprobs} (post_sampling_probs: prob, top_probs): llama-server's completion_probabilities.
    progress: None, or while the prompt is read {total, cache, processed, time_ms}. timings(): as in Result, so far.
    """

    __slots__ = ("_clock", "probs", "progress", "text", "tokens")

    def __init__(self, text="", tokens=(), probs=None, progress=None, clock=None) -> None:
        self.text, self.tokens, self.probs, self.progress, self._clock = text, list(tokens), probs, progress, clock

    def timings(self) -> dict:
        """The request's times and counts at the moment of the call."""
        return self._clock.timings() if self._clock else {}


class Result:
    """The end of an answer, after all its Deltas.

    text: all of it; rest: its end, where text was held back and no Delta carried it. tokens: all ids chosen but for an
    end token. stop_type: "eos", "limit", "word", "cancel"; stopping_word: the stop text or "". truncated: whether the
    context was full (it shifted, or the answer ended for it). tokens_cached: tokens of the prompt whose cells were
    there; tokens_evaluated: tokens of the prompt; tokens_predicted: tokens chosen, the end token among them.
    timings: cache_n, prompt_n, prompt_ms, prompt_per_token_ms, prompt_per_second, predicted_n, predicted_ms,
    predicted_per_token_ms, predicted_per_second. embedding: for kind "embedding" a list of lists of floats, one for
    each token (pooling none) or one in all; else None. probs: as in a Delta, of all tokens; None where not asked for.
    """

    __slots__ = (
        "embedding", "id_slot", "probs", "rest", "stop_type", "stopping_word", "text", "timings", "tokens",
        "tokens_cached", "tokens_evaluated", "tokens_predicted", "truncated",
    )  # fmt: skip

    text: str
    rest: str
    tokens: list[int]
    probs: Any  # a list, or None
    stop_type: str
    stopping_word: str
    truncated: bool
    id_slot: int
    tokens_cached: int
    tokens_evaluated: int
    tokens_predicted: int
    timings: dict
    embedding: Any  # a list, or None

    def __init__(self, **fields: object) -> None:
        for name in self.__slots__:
            setattr(self, name, fields.get(name))


def _bad(message: str) -> Refused:
    return Refused(400, "invalid_request_error", message)
