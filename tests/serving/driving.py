"""Drives a scheduler turn by turn, without its thread, and says what one session alone would have written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llamafile.sampling import Params, Sampler
from llamafile.serving import Delta, Request, Result, Scheduler, Settings
from tests.engine import opened


class Client:
    """Who waits for one request: everything that was delivered, and the end."""

    def __init__(self, scheduler: Scheduler, request: Request) -> None:
        self.request = request
        self.deltas: list[Delta] = []
        self.end: Any = None  # a Result or an exception
        self.ticket = scheduler.submit(request, self.take)

    def take(self, item: Any) -> None:
        assert self.end is None, "something came after the end"
        if isinstance(item, Delta):
            self.deltas.append(item)
        else:
            self.end = item

    @property
    def result(self) -> Result:
        assert isinstance(self.end, Result), repr(self.end)
        assert "".join(d.text for d in self.deltas) + self.end.rest == self.end.text
        sent = [token for delta in self.deltas for token in delta.tokens]
        assert self.end.tokens[: len(sent)] == sent
        return self.end


@contextmanager
def scheduler(model: Any, **settings: Any) -> Iterator[Scheduler]:
    """A scheduler whose thread was not started; at the end no page may be in use."""
    made = Scheduler(model, Settings(**settings))
    try:
        yield made
        assert made.tree.available == made.tree.count or made.places.sequences()
    finally:
        made.close()


def finish(made: Scheduler, clients: list[Client], turns: int = 20000) -> list[Result]:
    """Turn until all have ended; returns their results."""
    for _ in range(turns):
        if all(client.end is not None for client in clients):
            return [client.result for client in clients]
        made.turn()
    raise AssertionError(f"not all have ended after {turns} turns")


def run(made: Scheduler, *requests: Request) -> list[Result]:
    """Hand all in at once and turn until all have ended."""
    return finish(made, [Client(made, request) for request in requests])


class Rows:
    """Counts the rows that the engine computes from now on: `calls` holds a list of (tokens, output) for each call."""

    def __init__(self, made: Scheduler) -> None:
        self.calls: list[list[tuple[Any, int, bool]]] = []
        original = made.engine._call

        def call(program: Any, parts: Any, outputs: Any) -> None:
            self.calls.append([(part.sequence, part.count, part.output) for part in parts])
            original(program, parts, outputs)

        made.engine._call = call  # type: ignore[method-assign]

    @property
    def total(self) -> int:
        return sum(count for call in self.calls for _, count, _ in call)


def alone(model: Any, request: Request, n_ctx: int, cache: tuple[str, str] = ("f16", "f16")) -> list[int]:
    """The tokens that a fresh session gives for the request, an end token not among them: our oracle.

    A full context is shifted as the scheduler promises: n_keep tokens stay, half of the rest goes.
    """
    tokenizer, params = model.tokenizer, request.params
    sampler = Sampler(params, tokenizer.n_vocab, n_ctx, eog=tokenizer.eog)
    sampler.accept_all(request.prompt)
    out: list[int] = []
    bos = request.prompt[0] == tokenizer.bos
    keep = len(request.prompt) if request.n_keep < 0 else min(request.n_keep + bos, len(request.prompt))
    keep = max(0, min(keep, n_ctx - 4))
    with opened.session(model, n_ctx, cache_types=cache) as session:
        session.append(request.prompt)
        while request.n_predict < 0 or len(out) < request.n_predict:
            token = sampler.sample(session.logits)
            sampler.accept(token)
            if token in tokenizer.eog:
                break
            out.append(token)
            if len(session.tokens) == n_ctx:
                if not request.context_shift:
                    break
                session.shift(keep, max(1, (n_ctx - keep) // 2))
            session.append([token])
    return out


def warm(seed: int, **fields: Any) -> Params:
    """Parameters that draw at random, by a seed, from all there is."""
    return Params(**{"seed": seed, "temperature": 2.5, "top_k": 0, "top_p": 1.0, "min_p": 0.0, **fields})
