"""One step of the engine: contexts that are full make room, rows are computed, tokens and embeddings handed out."""

from __future__ import annotations

import time

from . import pooling


class Stepper:
    """Takes sequences one step further; `counts` (Metrics) and `replies` are told what happened.

    `ahead` (an Ahead, or None) adds guesses to a step's rows.
    """

    def __init__(self, engine, tree, planner, replies, counts, ahead=None):
        self.engine, self.tree, self.planner, self.replies, self.counts = engine, tree, planner, replies, counts
        self.ahead = ahead

    def step(self, sequences):
        """Compute one step's rows and hand out what came of them."""
        self._make_contexts_fit(sequences)
        self.planner.resume(sequences)
        parts = self.planner.parts(sequences)
        texts, embeddings, reading = self._sort(parts)
        if self.ahead is not None:
            self.ahead.plan(texts, reading)
        started = time.perf_counter()
        tokens = self.engine.run(texts) if texts else []
        rows = self.engine.embed(embeddings) if embeddings else 0
        seconds = time.perf_counter() - started
        if texts or embeddings:
            decoding = sum(part.count for part in (*texts, *embeddings)) - reading
            self.counts.count_step(seconds, reading, decoding, len(texts) + len(embeddings))
            self.planner.measure(reading, seconds)
            if self.ahead is not None and not reading and not embeddings:
                self.ahead.measure(texts, seconds)
        for part in texts:
            part.sequence.record(self.tree, part.count)
        for part in embeddings:
            part.sequence.record(self.tree, part.count)
            rows = self._pool(part, rows)
        self._hand_out(texts, tokens)

    def _sort(self, parts):
        """The parts that go through the one program and the other, and how many rows are no answer's; those whose
        constraint fails are left out."""
        texts, embeddings, reading = [], [], 0
        for part in parts:
            if part.sequence.embeds:
                embeddings.append(part)
            elif part.output and part.sequence.matcher is not None and not self.replies.mask(part.sequence):
                continue
            else:
                texts.append(part)
            if part.sequence.reading or part.count > 1:
                reading += part.count
        return texts, embeddings, reading

    def _hand_out(self, parts, tokens):
        """Give each part's sequence its token or the news of its prompt; then what was guessed right."""
        output, going = 0, []
        for part in parts:
            sequence = part.sequence
            self.counts.most_tokens = max(self.counts.most_tokens, sequence.n_done)
            self.replies.progress(sequence)
            if part.output:
                if part.draft:
                    sequence.clock.drafted += len(part.draft)
                    self.counts.count_draft(len(part.draft))
                if self._hear(part, tokens[output], 0):
                    going.append(part)
                output += 1
            elif not sequence.remaining and not sequence.pending:
                self.replies.finish(sequence, "limit")  # a prompt that nothing was to follow on
        self._go_on(going)
        for part in parts:
            if part.draft and part.sequence.active:
                part.sequence.trim(self.tree)

    def _go_on(self, going):
        """While an answer's new token is the one that was guessed, its next one is chosen from the row behind it.

        So each token is drawn with the request's own next random number, from the logits and under the mask that it
        would have had in a step of its own.
        """
        at = 0
        while going:
            at += 1
            tokens = self.engine.choose([(part.sequence, part.row + at) for part in going])
            going = [part for part, token in zip(going, tokens) if self._hear(part, token, at)]

    def _hear(self, part, token, at):
        """Hand out the token chosen behind `at` guesses; returns whether the next guess was right and may be used."""
        sequence, right = part.sequence, at < len(part.draft) and token == part.draft[at]
        if right:
            sequence.clock.accepted += 1
            self.counts.accepted += 1
        self.replies.token(sequence, token, self.engine.logits(part.row + at))
        if not right or sequence.sampler is None:
            return False
        sequence.record(self.tree, 1)
        self.counts.predicted += 1
        return sequence.matcher is None or self.replies.mask(sequence)

    def _pool(self, part, address):
        """Take an embedding's rows; returns where the next part's begin."""
        sequence, width = part.sequence, self.engine.width
        if sequence.pooled is None:
            kind = sequence.request.pooling or pooling.of_model(self.engine.model)
            sequence.pooled = pooling.Pooled(kind, width)
        sequence.pooled.add(address, part.count)
        if not sequence.remaining:
            self.replies.finish(sequence, "limit", sequence.pooled.result())
        return address + 4 * width * part.count

    def _make_contexts_fit(self, sequences):
        """Shift the contexts that are full, and make the shifts of those that begin again."""
        for sequence in sequences:
            while sequence.active and sequence.pending and not sequence.remaining:
                _, keep, discard = sequence.pending[0]
                if self._shift(sequence, keep, discard, sequences):
                    sequence.next_stretch()
            if sequence.active and len(sequence.tokens) > sequence.n_ctx:
                keep, held = self._kept(sequence), sequence.n_done
                discard = max(1, (held - keep) // 2)
                at = held + sum(dropped for _, _, dropped in sequence.shifts)
                if self._shift(sequence, keep, discard, sequences):
                    sequence.shifts.append((at, keep, discard))
                    sequence.truncated = True

    def _kept(self, sequence):
        """How many tokens a shift keeps; a begin-of-text token is always kept, and some always go."""
        request = sequence.request
        bos = request.prompt[0] == self.engine.model.tokenizer.bos
        asked = len(request.prompt) if request.n_keep < 0 else min(request.n_keep + bos, len(request.prompt))
        return max(0, min(asked, sequence.n_ctx - 4))

    def _shift(self, sequence, keep, discard, sequences):
        while sequence.active:
            if sequence.drop_cells(self.tree, self.engine, keep, discard):
                return True
            self.planner.make_room(sequence, sequences)
        return False
