"""Guesses for a step: which tokens ride along behind each answer's next one, and what became of them."""

from __future__ import annotations

from llamafile.speculation.guesser import Ask, Guesser
from llamafile.speculation.pace import Costs, Straight
from llamafile.speculation.text import Text
from runtime.ops import PAGE

_FIELDS = {"n_max": "draft_max", "n_min": "draft_min", "p_min": "draft_p_min"}  # of wishes, in a request


class Ahead:
    """Chooses the guesses of a step by `wishes` (speculation.wishes.Wishes), and learns what steps cost."""

    def __init__(self, engine, tree, wishes):
        self.engine, self.tree, self.wishes = engine, tree, wishes
        self.guesser, self.costs = Guesser(wishes), Costs()

    def plan(self, parts, reading):
        """Give parts that choose a token their guesses, where that pays: `draft`, with cells to compute them in.

        `reading` rows of the step belong to prompts.
        """
        for part in parts:
            part.draft = ()
        writing = [part for part in parts if part.output and part.count == 1 and not part.sequence.reading]
        asks = [Ask(self._text(part.sequence), self._room(part.sequence), self._wish(part.sequence, "p_min"))
                for part in writing]  # fmt: skip
        rows = sum(part.count for part in parts)
        budget = min(self.engine.n_ahead, self.engine.n_rows - rows)
        if budget <= 0 or not any(ask.room > 0 for ask in asks):
            return
        costs = Straight(rows) if reading else self.costs.beside(rows)
        for part, guess in zip(writing, self.guesser.guesses(asks, budget, costs)):
            if guess and len(guess) >= self._wish(part.sequence, "n_min"):
                self._take_along(part, guess)

    def measure(self, parts, seconds):
        """Learn from a step without rows of prompts."""
        guesses = sum(len(part.draft) for part in parts)
        self.costs.measure(len(parts) + guesses, seconds, guesses)

    def _room(self, sequence):
        """How many guesses the request, its context and its bound of tokens allow."""
        return min(self._wish(sequence, "n_max"), sequence.n_ctx - sequence.n_done - 1,
                   sequence.limit - len(sequence.generated) - 1)  # fmt: skip

    def _wish(self, sequence, name):
        own = getattr(sequence.request, _FIELDS[name])
        return getattr(self.wishes, name) if own is None else own

    def _text(self, sequence):
        """The sequence's text as far as it goes; a shift drops nothing of it."""
        prompt, text = sequence.request.prompt, sequence.text
        if text is None:
            text = sequence.text = Text(self.wishes.size, sequence.slot.id)
            text.extend(prompt)
        for token in sequence.generated[len(text.tokens) - len(prompt) :]:
            text.extend((token,))
        return text

    def _take_along(self, part, guess):
        """Put a guess behind a part as far as there are cells; nobody has to give up pages or what may be found."""
        sequence = part.sequence
        room = len(sequence.pages) * PAGE - sequence.n_done - 1
        if len(guess) > room and len(self.tree.free) > self.engine.n_sequences:
            sequence.need_pages(self.tree, self.engine, 1 + len(guess))
            room = len(sequence.pages) * PAGE - sequence.n_done - 1
        part.draft = guess[:room]
