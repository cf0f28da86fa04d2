"""Guesses for a step: which tokens ride along behind each answer's next one, and what became of them."""

from __future__ import annotations

from llamafile.speculation.lookup import Lookup
from llamafile.speculation.pace import Costs, Straight, share_out
from runtime.ops import PAGE


class Ahead:
    """Chooses the guesses of a step by `wishes` (speculation.wishes.Wishes), and learns what steps cost."""

    def __init__(self, engine, tree, wishes):
        self.engine, self.tree, self.wishes = engine, tree, wishes
        self.costs = Costs()

    def plan(self, parts, reading):
        """Give parts that choose a token their guesses, where that pays: `draft`, with cells to compute them in.

        `reading` rows of the step belong to prompts.
        """
        for part in parts:
            part.draft = ()
        writing = [part for part in parts if part.output and part.count == 1 and not part.sequence.reading]
        rooms = {part: room for part in writing if (room := self._room(part.sequence)) > 0}
        found = {part: lookup for part in rooms if (lookup := self._lookup(part.sequence)) is not None}
        if not found:
            return
        rows = sum(part.count for part in parts)
        budget = min(self.engine.n_ahead, self.engine.n_rows - rows)
        costs = Straight(rows) if reading else self.costs.beside(rows)
        chances = [lookup.chances(min(rooms[part], budget)) for part, lookup in found.items()]
        counts = share_out(chances, len(writing), budget, costs)
        if not reading and not any(counts):
            self.costs.forgive(rows)
        for (part, lookup), count in zip(found.items(), counts):
            if count and count >= self._wish(part.sequence, "draft_min", "n_min"):
                self._take_along(part, lookup.guess(count))

    def measure(self, parts, seconds):
        """Learn from a step without rows of prompts."""
        self.costs.measure(sum(1 + len(part.draft) for part in parts), seconds)

    def _room(self, sequence):
        """How many guesses the request, its context and its bound of tokens allow."""
        return min(self._wish(sequence, "draft_max", "n_max"), sequence.n_ctx - sequence.n_done - 1,
                   sequence.limit - len(sequence.generated) - 1)  # fmt: skip

    def _wish(self, sequence, field, name):
        own = getattr(sequence.request, field)
        return getattr(self.wishes, name) if own is None else own

    def _lookup(self, sequence):
        """The sequence's text as far as it goes, or None where it says nothing about what comes next."""
        if not self.wishes.lookup:
            return None
        lookup = sequence.lookup
        if lookup is None:
            lookup = sequence.lookup = Lookup(self.wishes.size)
            lookup.extend(sequence.request.prompt)
        known = len(lookup.tokens) - len(sequence.request.prompt)
        for token in sequence.generated[known:]:
            lookup.extend((token,))
        return lookup if lookup.source >= 0 else None

    def _take_along(self, part, guess):
        """Put a guess behind a part as far as there are cells; nobody has to give up pages or what may be found."""
        sequence = part.sequence
        room = len(sequence.pages) * PAGE - sequence.n_done - 1
        if len(guess) > room and len(self.tree.free) > self.engine.n_sequences:
            sequence.need_pages(self.tree, self.engine, 1 + len(guess))
            room = len(sequence.pages) * PAGE - sequence.n_done - 1
        part.draft = guess[:room]
