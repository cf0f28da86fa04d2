"""Chooses what rides along in a pass: guesses from the texts' own past, or a draft model's, as many as pay."""

from __future__ import annotations

from llamafile.speculation.pace import WORTH, share_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llamafile.speculation.pace import Beside, Straight
    from llamafile.speculation.text import Text
    from llamafile.speculation.wishes import Wishes

TRUSTED = 0.8  # where the text's own past is so sure of the next token, the draft model is not asked
FIRST_WAIT, LONGEST_WAIT = 8, 256  # tokens for which a draft model that does not pay is left alone
TRIAL = 2  # tokens it is then asked for


class Ask:
    """A text, the most guesses it has room for, and how sure the draft model has to be of a token."""

    __slots__ = ("p_min", "room", "text")

    def __init__(self, text: Text, room: int, p_min: float) -> None:
        self.text, self.room, self.p_min = text, room, p_min


class Guesser:
    """Guesses by `wishes`."""

    def __init__(self, wishes: Wishes) -> None:
        self._wishes = wishes

    def guesses(self, asks: list[Ask], budget: int, costs: Beside | Straight) -> list[list[int]]:
        """Return for each ask the tokens to take along, at most `budget` in all; each text gets one token without."""
        found: list[tuple[list[int] | None, list[float]]] = [self._from_the_past(ask, budget) for ask in asks]
        draft = self._wishes.draft
        if draft is not None:
            unsure = [i for i, (_, chances) in enumerate(found) if not chances or chances[0] < TRUSTED]
            for i, drafted in zip(unsure, self._drafts([asks[i] for i in unsure], budget, costs)):
                if drafted[0]:
                    found[i] = drafted
        if not any(chances for _, chances in found):
            return [[] for _ in asks]
        counts = share_out([chances for _, chances in found], len(asks), budget, costs)
        if not any(counts):
            costs.forgive()
        return [(ask.text.lookup.guess(count) if ids is None else ids[:count]) if count else []
                for ask, (ids, _), count in zip(asks, found, counts)]

    def _from_the_past(self, ask: Ask, budget: int) -> tuple[None, list[float]]:
        """How likely the next tokens of a copy are; which they are is looked up once it is known how many."""
        lookup = ask.text.lookup
        if not self._wishes.lookup or lookup.source < 0 or ask.room <= 0:
            return None, []
        return None, lookup.chances(min(ask.room, budget))

    def _drafts(self, asks: list[Ask], budget: int, costs: Beside | Straight) -> list[tuple[list[int], list[float]]]:
        """What the draft model thinks, as (tokens, chances) for each ask; where it does not pay it is not asked."""
        draft = self._wishes.draft
        ready = [ask for ask in asks if not ask.text.waits and ask.room > 0]
        if not ready:
            return [([], []) for _ in asks]
        most = min(max(ask.room for ask in ready), budget // len(ready))
        count = self._worth(ready, most, costs)
        for ask in ready:
            # It was worth it: should it not be next time, a look now and then costs little.
            ask.text.patience = FIRST_WAIT if count else min(2 * ask.text.patience or FIRST_WAIT, LONGEST_WAIT)
            ask.text.waits = 0 if count else ask.text.patience
        count = count or min(TRIAL, most)
        if not count:
            return [([], []) for _ in asks]
        drafted = draft.guess([(ask.text.seat, ask.text.tokens, min(count, ask.room), ask.p_min) for ask in ready])
        by_text = {id(ask.text): (ids, ask.text.drafted(ids, strengths))
                   for ask, (ids, strengths) in zip(ready, drafted)}
        return [by_text.get(id(ask.text), ([], [])) for ask in asks]

    def _worth(self, asks: list[Ask], most: int, costs: Beside | Straight) -> int:
        """How many tokens the draft model is asked for: what makes the most tokens in a second, its passes counted."""
        draft = self._wishes.draft
        n, each = len(asks), draft.seconds(len(asks))
        rate = sum(ask.text.trust.overall for ask in asks) / n
        best, found, expected = WORTH * n / costs.seconds(0), 0, 1.0
        for k in range(1, min(most, costs.most() // n) + 1):
            expected += rate**k
            # Where all come, the last one is not in the draft model's cache yet: one more pass.
            speed = n * expected / (costs.seconds(n * k) + (k + rate**k) * each)
            if speed > best:
                best, found = speed, k
        return found
