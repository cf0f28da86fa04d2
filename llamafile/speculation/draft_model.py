"""A draft model: a small one with the same vocabulary that writes ahead, for several texts at once."""

from __future__ import annotations

import math
import time

from llamafile.errors import LlamafileError
from llamafile.sampling import Params, Sampler
from llamafile.serving.engine import Engine, Part
from llamafile.serving.pages import Page
from llamafile.speculation.pace import Costs
from runtime.ops import PAGE

BEST = Params(temperature=0.0)


class Seat:
    """What the draft model holds of one text: an Engine's sequence with pages of its own.

    Of `tokens`, which begin at the text's `start`, the first `n_done` have cells, and the first `sure` are the text's.
    """

    __slots__ = ("mask", "masked", "n_done", "pages", "sampler", "start", "sure", "table", "tabled", "text", "tokens")

    def __init__(self, pages, sampler):
        self.pages, self.sampler = pages, sampler
        self.tokens, self.n_done, self.start, self.sure = [], 0, 0, 0
        self.text = None  # the list it was brought up to last
        self.table, self.tabled, self.mask, self.masked = None, 0, None, False

    def follow(self, text, n_ctx, room):
        """Become the text, with room for so many tokens behind it: what is the same keeps its cells."""
        if text is not self.text:
            self.text, self.sure = text, 0
        if len(text) - self.start + room > n_ctx or len(text) < self.start:
            self.start, self.sure = max(0, len(text) - n_ctx // 2), 0
        whole = text[self.start + self.sure :]
        same = self.sure
        for one, other in zip(self.tokens[self.sure :], whole):
            if one != other:
                break
            same += 1
        self.tokens[same:] = text[self.start + same :]
        # The last token is always computed: its logits are wanted.
        self.n_done = min(self.n_done, same, len(self.tokens) - 1)
        self.sure = len(self.tokens)


class DraftModel:
    """`model` (closed with it) writes ahead for `n_seats` texts of at most n_ctx tokens; longer ones by their end."""

    def __init__(self, model, n_ctx, n_seats, cache_types=("f16", "f16"), n_rows=512):
        self.model, self.n_ctx = model, n_ctx
        each = -(-n_ctx // PAGE)
        self._engine = Engine(model, cache_types, n_ctx, each * n_seats, max(n_rows, n_seats), n_seats)
        self._costs = Costs()
        self.seats = []
        for seat in range(n_seats):
            pages = [Page(seat * each + i, None, i) for i in range(each)]
            for page in pages:
                self._engine.place(page)
            self.seats.append(Seat(pages, Sampler(BEST, model.tokenizer.n_vocab, n_ctx)))

    def seconds(self, texts):
        """Return what a pass of a token for each of so many texts is believed to take; 0 before one was measured."""
        return self._costs.seconds(texts) if self._costs.measured else 0.0

    def guess(self, asks):
        """For each (seat, text, most, p_min) return (tokens, strengths), a strength being the probability in tenths.

        A guess ends before an end token, and before one that is less likely than p_min.
        """
        found: list[tuple[list[int], list[int]]] = [([], []) for _ in asks]
        going = []
        for i, (number, text, most, p_min) in enumerate(asks):
            most = min(most, self.n_ctx // 2 - 1)
            if text and most > 0:
                self.seats[number].follow(text, self.n_ctx, most)
                going.append((self.seats[number], most, p_min, found[i]))
        self._catch_up([seat for seat, *_ in going])
        while going:
            going = self._one_more(going)
        return found

    def _catch_up(self, seats):
        """Compute all but the last token of each text."""
        behind = [seat for seat in seats if len(seat.tokens) - seat.n_done > 1]
        while behind:
            parts, rows = [], self._engine.n_rows
            for seat in behind:
                count = min(rows, len(seat.tokens) - seat.n_done - 1)
                if count:
                    parts.append(Part(seat, count, False))
                    rows -= count
            self._engine.run(parts)
            for part in parts:
                part.sequence.n_done += part.count
            behind = [seat for seat in behind if len(seat.tokens) - seat.n_done > 1]

    def _one_more(self, going):
        """Compute the last token of each and take the likeliest next one; returns those that go on."""
        parts = [Part(seat, 1, True) for seat, *_ in going]
        started = time.perf_counter()
        tokens = self._engine.run(parts)
        left = []
        for part, token, entry in zip(parts, tokens, going):
            seat, most, p_min, (ids, strengths) = entry
            seat.n_done += 1
            if token < 0 or token in self.model.tokenizer.eog:
                continue
            chance = math.exp(seat.sampler.logprobs(self._engine.logits(part.row), token, 0)[0])
            if chance < p_min:
                continue
            seat.tokens.append(token)
            ids.append(token)
            strengths.append(min(9, int(10 * chance)))
            if len(ids) < most:
                left.append(entry)
        self._costs.measure(len(parts), time.perf_counter() - started)
        return left

    def close(self):
        """Free programs, cache and model."""
        self._engine.close()
        self.model.close()


def _listed(file):
    """A file's token texts and kinds as the bytes in which it lists them."""
    arrays = [file.keys.get(f"tokenizer.ggml.{name}") for name in ("tokens", "token_type")]
    return [bytes(file.mappings[a.mapping].view[a.offset : a.offset + a.nbytes]) for a in arrays if a is not None]


def check(draft, target):
    """Raise LlamafileError where two models' tokens have different texts, or different ones of them are special."""
    one, other = draft.tokenizer, target.tokenizer
    difference = ""
    same = _listed(draft.file) == _listed(target.file)
    if one.n_vocab != other.n_vocab:
        difference = f"{one.n_vocab} tokens and not {other.n_vocab}"
    elif (one.bos, one.eog) != (other.bos, other.eog):
        difference = "other tokens that begin and end a text"
    elif not same:  # the files say it in other words: look at what they mean
        for token in range(one.n_vocab):
            if one.piece(token, True) != other.piece(token, True) or one.is_control(token) != other.is_control(token):
                difference = f"another text for token {token}"
                break
    if difference:
        raise LlamafileError(f"-md: {draft.file.label} has another vocabulary than {target.file.label} ({difference}); "
                             "take a small model of the same family")
