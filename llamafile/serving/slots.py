"""Slots: the places at which requests are answered, and what each was last busy with."""

from __future__ import annotations

from runtime.ops import PAGE

from .pages import common


class Slot:
    """One place; `sequence` is at it now, or None. `tokens` are those of the last one: their cells may be there yet."""

    __slots__ = ("guesses", "id", "last", "sequence", "tokens", "used")

    def __init__(self, id, guesses=False):
        self.id, self.used, self.guesses = id, 0, guesses
        self.sequence = self.last = None  # the sequence there now; the one before
        self.tokens: list[int] = []

    def describe(self, n_ctx):
        """The slot as in llama-server's /slots."""
        sequence = self.sequence or self.last
        out = {"id": self.id, "n_ctx": n_ctx, "speculative": self.guesses, "is_processing": self.sequence is not None}
        if sequence is None:
            return {**out, "id_task": -1, "n_prompt_tokens": len(self.tokens)}
        clock, request = sequence.clock, sequence.request
        bounded = request.n_predict >= 0
        decoded = len(sequence.generated)
        lines = sequence.answer is not None and any("\n" in piece for piece in list(sequence.answer.text))
        return {
            **out, "id_task": sequence.number, "params": _params(request), "n_prompt_tokens": clock.prompt,
            "n_prompt_tokens_processed": min(sequence.n_done, clock.prompt), "n_prompt_tokens_cache": clock.cached,
            "next_token": [{
                "has_next_token": self.sequence is not None, "has_new_line": lines,
                "n_remain": request.n_predict - decoded if bounded else -1, "n_decoded": decoded,
            }],
        }  # fmt: skip


def _params(request):
    params = request.params
    values = {name: getattr(params, name) for name in type(params).__slots__ if name != "n_probs"}
    names = ("n_predict", "n_keep", "stop", "n_probs", "post_sampling_probs", "context_shift", "t_max_predict_ms")
    values.update({name: getattr(request, name) for name in names})
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


class Slots:
    """All places. Requests are seated in the order of their coming, but for those that want a busy one."""

    def __init__(self, count, guesses=False):
        """`guesses`: whether tokens are guessed ahead."""
        self.all = [Slot(i, guesses) for i in range(count)]
        self._clock = 0

    def seat(self, sequence):
        """Give a sequence a free slot: the one it asks for, or whose tokens begin most like its own, or the one idle
        for the longest; returns whether there was one."""
        asked = sequence.request.id_slot
        free = [s for s in self.all if s.sequence is None and asked in (-1, s.id)]
        if not free:
            return False
        slot = max(free, key=lambda s: (common(s.tokens, sequence.tokens), -s.used))
        self._clock += 1
        slot.sequence, slot.used, sequence.slot = sequence, self._clock, slot
        return True

    @staticmethod
    def leave(sequence):
        """A sequence has ended: its slot is free, and keeps what its cells are for."""
        slot = sequence.slot
        slot.tokens = sequence.tokens[: sequence.n_done]
        slot.sequence, slot.last = None, sequence

    def erase(self, slot, tree):
        """Forget an idle slot's tokens, and their cells where no other slot has the same; {id_slot, n_erased}."""
        path = tree.match(slot.tokens, len(slot.tokens))
        last, same = tree.closest_child(path[-1] if path else tree.root, slot.tokens[len(path) * PAGE :])
        if last is not None and same == len(last.tokens):
            path.append(last)
        others = [other.tokens for other in self.all if other is not slot]
        for page in reversed(path):
            begin = slot.tokens[: page.depth * PAGE + 1]  # who has its first token came by it
            if any(tokens[: len(begin)] == begin for tokens in others) or not tree.forget(page):
                break
        erased, slot.tokens, slot.last = len(slot.tokens), [], None
        return {"id_slot": slot.id, "n_erased": erased}

    def sequences(self):
        """Those that are at a slot."""
        return [s.sequence for s in self.all if s.sequence is not None]
