"""One timeline of tokens: what was fed, what is sampled next, and the shift that makes room in a full context."""

from __future__ import annotations

import time

from llamafile.errors import LlamafileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from llamafile.arguments import Options
    from llamafile.cli.output import Output


class Count:
    """Tokens and the seconds they took; `free` of them took none, as their logits were there already."""

    def __init__(self, free: int) -> None:
        self.tokens, self.seconds, self.free = 0, 0.0, free

    def add(self, tokens: int, seconds: float) -> None:
        """Count some more."""
        self.tokens += tokens
        self.seconds += seconds

    def __str__(self) -> str:
        timed = self.tokens - self.free
        rate = f" ({timed / self.seconds:.1f} a second)" if timed > 0 and self.seconds else ""
        return f"{self.tokens} tokens in {self.seconds:.3f} s{rate}"


class Full(Exception):
    """The context is full and may not shift."""


class Timeline:
    """A session with its sampler; tokens that are fed wait until the next one is sampled, so no work is for nothing."""

    def __init__(self, options: Options, model: Any, session: Any, sampler: Any, output: Output,
                 load_seconds: float, grammar: Any = None, ahead: Any = None) -> None:
        self.options, self.model, self.session, self.sampler, self.output = options, model, session, sampler, output
        self.tokenizer = model.tokenizer
        self.load_seconds = load_seconds
        self.may_shift = options.context_shift and options.n_predict != -2
        self.shifted = False
        self.seen = False  # whether the sampler knows what the session holds, which a prompt cache may have filled
        self.keep = 0
        self.waiting: list[int] = []
        self.prompt, self.answer = Count(0), Count(1)
        self._make_ahead = ahead  # what makes a speculation.alone.Alone behind the first token, or None
        self.ahead: Any = None
        self.matcher, self._mask = None, None
        if grammar is not None:
            from llamafile._native import ffi

            self.matcher = grammar.matcher()
            self._mask = ffi.new("uint32_t[]", (sampler.n_vocab + 31) // 32)

    @property
    def n_ctx(self) -> int:
        """Tokens that the context holds."""
        return self.session.n_ctx

    @property
    def tokens(self) -> list[int]:
        """All tokens, evaluated or waiting."""
        return [*self.session.tokens, *self.waiting]

    def encode(self, text: bytes, *, first: bool = False, special: bool = True) -> list[int]:
        """Return the ids of a text; `first` obeys the model's rule for a text's beginning, `special` reads marks."""
        return list(self.tokenizer.encode(text, add_special=first, parse_special=special))

    def need_room(self, ids: Sequence[int]) -> None:
        """Raise LlamafileError for a prompt that leaves no room to answer in."""
        if len(ids) >= self.n_ctx:
            raise LlamafileError(f"prompt: has {len(ids)} tokens, the context holds {self.n_ctx}; use a larger -c "
                                 "or a shorter prompt")

    def begin(self, ids: Sequence[int]) -> None:
        """Make the timeline equal a prompt, evaluating only what it does not hold, and settle what a shift keeps."""
        self.need_room(ids)
        same = _common(self.tokens, ids) if self.seen else 0
        if not self.seen:
            self.model.let_go()  # what comes now takes the most memory
        self.seen = True
        self.sampler.accept_all(list(ids[same:]))
        self._settle_keep(ids)
        self.waiting.clear()
        if ids:
            started, fresh = time.perf_counter(), len(ids) - min(_common(self.session.tokens, ids), len(ids) - 1)
            self.session.sync(list(ids))
            if self.ahead is not None:
                self.ahead.begin(list(ids))
            self.prompt.add(fresh, time.perf_counter() - started)

    def _settle_keep(self, ids: Sequence[int]) -> None:
        """Work out how many tokens a shift keeps; a begin-of-text token is always kept."""
        asked = self.options.n_keep
        bos = bool(ids) and ids[0] == self.tokenizer.bos
        self.keep = len(ids) if asked < 0 else min(asked + bos, len(ids))

    def feed(self, ids: Sequence[int]) -> None:
        """Add tokens that somebody typed, or that the model chose."""
        self.sampler.accept_all(list(ids))
        self.waiting += ids

    def begin_answer(self) -> None:
        """Let the grammar, where there is one, begin anew."""
        if self.matcher is not None:
            self.matcher.reset()

    @property
    def complete(self) -> bool:
        """Whether the grammar lets nothing but the end follow."""
        return self.matcher is not None and self.matcher.finished

    def next(self) -> int:
        """Evaluate what waits and return the token that the sampler chooses; raises Full where there is no room."""
        started = time.perf_counter()
        self.settle()
        if self.matcher is None:
            token = self.sampler.sample(self.session.logits)
        else:
            self.matcher.fill(self._mask)
            token = self.sampler.sample(self.session.logits, self._mask)
            self.matcher.accept(token)
        self.answer.add(1, time.perf_counter() - started)
        return token

    def settle(self) -> None:
        """Evaluate what waits, so that the session holds every token."""
        if self.waiting:
            self._make_room()
            waiting, self.waiting = self.waiting, []
            if self._make_ahead is not None:
                self.ahead, self._make_ahead = self._make_ahead(), None
                self.ahead.begin(self.session.tokens)
            (self.session if self.ahead is None else self.ahead).append(waiting)

    def _make_room(self) -> None:
        """Drop the older half of what need not be kept, as often as the waiting tokens ask for."""
        while len(self.session.tokens) + len(self.waiting) > self.n_ctx:
            held = len(self.session.tokens)
            if not self.may_shift or held <= self.keep:
                raise Full
            self.session.shift(self.keep, max(1, (held - self.keep) // 2))
            self.shifted = True

    def report(self) -> None:
        """Write the timings to the standard error stream."""
        if not self.options.perf:
            return
        guessed = ""
        if self.ahead is not None and self.ahead.drafted:
            guessed = f"; {self.ahead.accepted} of {self.ahead.drafted} guessed tokens were right"
        self.output.note(f"load {self.load_seconds:.3f} s; prompt {self.prompt}; answer {self.answer}{guessed}")


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Return how many items two sequences have in common at their beginnings."""
    same = 0
    for one, other in zip(a, b, strict=False):
        if one != other:
            break
        same += 1
    return same
