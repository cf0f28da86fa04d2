"""Speculation for one session: guesses ride along where it pays, and each token is told apart by the sampler's draw."""

from __future__ import annotations

import time

from llamafile.speculation.guesser import Ask, Guesser
from llamafile.speculation.pace import Costs
from llamafile.speculation.text import Text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llamafile.speculation.wishes import Wishes


class Alone:
    """Appends tokens to a session, with guesses behind them; `drafted` were computed, `accepted` of them came."""

    def __init__(self, session: Any, wishes: Wishes) -> None:
        self._session, self._wishes = session, wishes
        self._text, self._guesser, self._costs = Text(wishes.size), Guesser(wishes), Costs()
        self._begun: list[int] | None = None
        self.drafted = self.accepted = 0

    def begin(self, ids: list[int]) -> None:
        """Note the whole text so far; it is looked into when first needed, behind the first token."""
        self._begun = list(ids)

    def append(self, ids: list[int]) -> None:
        """Evaluate tokens, as Session.append does."""
        if self._begun is not None:
            self._text.follow(self._begun)
            self._begun = None
        self._text.extend(ids)
        if len(ids) > 1:
            self._session.append(ids)
        elif self._session.next_guess == ids[0]:
            self.accepted += 1
            self._session.append(ids)
        else:
            self._step(ids)

    def _step(self, ids: list[int]) -> None:
        """A pass of its own for one token, and what may follow it."""
        wishes, session = self._wishes, self._session
        guess: list[int] = []
        most = min(wishes.n_max, session.n_ahead, session.n_ctx - len(session.tokens) - 1)
        if most > 0:
            ask = Ask(self._text, most, wishes.p_min)
            guess, = self._guesser.guesses([ask], most, self._costs.beside(1))
            guess = guess if len(guess) >= wishes.n_min else []
        started = time.perf_counter()
        session.append(ids, guess)
        self._costs.measure(1 + len(guess), time.perf_counter() - started, len(guess))
        self.drafted += len(guess)
