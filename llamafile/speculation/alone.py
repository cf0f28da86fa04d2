"""Speculation for one session: guesses ride along where it pays, and each token is told apart by the sampler's draw."""

from __future__ import annotations

import time

from llamafile.speculation.lookup import Lookup
from llamafile.speculation.pace import Costs, share_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llamafile.speculation.wishes import Wishes


class Alone:
    """Appends tokens to a session, with guesses behind them; `drafted` were computed, `accepted` of them came."""

    def __init__(self, session: Any, wishes: Wishes) -> None:
        self._session, self._wishes = session, wishes
        self._lookup = Lookup(wishes.size)
        self._costs = Costs()
        self._begun: list[int] | None = None
        self.drafted = self.accepted = 0

    def begin(self, ids: list[int]) -> None:
        """Note the whole text so far; it is looked into when first needed, behind the first token."""
        self._begun = list(ids)

    def append(self, ids: list[int]) -> None:
        """Evaluate tokens, as Session.append does."""
        if len(ids) == 1 and self._session.next_guess == ids[0]:
            self.accepted += 1
            self._note(ids)
            self._session.append(ids)
            return
        self._note(ids)
        guess = self._guess() if len(ids) == 1 else []
        started = time.perf_counter()
        self._session.append(ids, guess)
        if len(ids) == 1:
            self._costs.measure(1 + len(guess), time.perf_counter() - started)
            self.drafted += len(guess)

    def _note(self, ids: list[int]) -> None:
        if not self._wishes.lookup:
            return
        if self._begun is not None:
            self._lookup.follow(self._begun)
            self._begun = None
        self._lookup.extend(ids)

    def _guess(self) -> list[int]:
        """The tokens to take along."""
        wishes, session = self._wishes, self._session
        most = min(wishes.n_max, session.n_ahead, session.n_ctx - len(session.tokens) - 1)
        if most < 1 or self._lookup.source < 0:
            return []
        count = share_out([self._lookup.chances(most)], 1, most, self._costs.beside(1))[0]
        if not count:
            self._costs.forgive(1)
        return self._lookup.guess(count) if count and count >= wishes.n_min else []
