"""What a step computes: a row for each running answer, chunks of prompts in turn, and the pages for all of them."""

from __future__ import annotations

from runtime.ops import PAGE

from .engine import Part
from .pages import common

WORTH_WAITING = 16  # tokens that another one is about to compute: fewer are computed twice
CHUNK_SECONDS = 0.2  # of prompt in a step while answers run, where a chunk of n_rows would take longer
LEAST_CHUNK = 32


class Planner:
    """Chooses the rows of steps of at most engine.n_rows; `rate` are the rows a second that prompts were read with."""

    def __init__(self, engine, tree):
        self.engine, self.tree = engine, tree
        self.rate = 0.0
        self._turn = 0  # the number of the sequence that had the first chunk last
        self._before: list[Part] = []  # of a step in which every sequence wrote on

    def resume(self, sequences):
        """Let those that wait for pages go on, the oldest first, where their tokens fit beside the others'."""
        waiting = [s for s in sequences if not s.active]
        active = len(sequences) - len(waiting)
        for sequence in sorted(waiting, key=_age):
            held = sum(page.refs > 0 for page in self.tree.match(sequence.tokens, len(sequence.tokens) - 1))
            needed = len(sequence.tokens) // PAGE + 1 - held * sequence.reuse
            # Each that runs may soon want one more; one alone always has room.
            if active and needed + active > self.tree.available:
                return
            sequence.active = True
            active += 1

    def parts(self, sequences):
        """The parts of the next step, every running answer among them, and none whose pages cannot be had."""
        if self._goes_on(sequences):
            return self._before
        active = sorted((s for s in sequences if s.active), key=_age)
        rows = {s: 1 for s in active if not s.reading and s.remaining == 1}
        budget = self._budget(bool(rows)) - len(rows)
        for sequence in self._in_turn([s for s in active if s not in rows]):
            if budget <= 0:
                break
            sequence.attach_full(self.tree)
            if self._follows(sequence, active):
                continue
            sequence.attach_part(self.tree, self.engine)
            rows[sequence] = min(sequence.remaining, budget)
            budget -= rows[sequence]
        parts = self._with_pages([s for s in active if s in rows], rows, active)
        self._before = parts if all(part.output and part.count == 1 for part in parts) else []
        return parts

    def _goes_on(self, sequences):
        """Whether the same answers as in the step before need one row each and have the cells for them: mostly so."""
        if len(sequences) != len(self._before):
            return False
        for part in self._before:
            s = part.sequence
            if not s.active or s.slot.sequence is not s:
                return False
            if len(s.tokens) - s.n_done != 1 or s.n_done >= len(s.pages) * PAGE:
                return False
        return True

    def measure(self, rows, seconds):
        """Learn from a step how fast prompts are read."""
        if rows >= LEAST_CHUNK:
            rate = rows / max(seconds, 1e-6)
            self.rate = rate if not self.rate else 0.7 * self.rate + 0.3 * rate

    def make_room(self, sequence, active):
        """Let the youngest give up its pages; returns it: perhaps the sequence itself, which then has to wait."""
        victim = max((s for s in active if s.active and (s.pages or s is sequence)), key=_age)
        victim.start_over(self.tree)
        return victim

    def _budget(self, streaming):
        if not streaming or not self.rate:
            return self.engine.n_rows
        return min(self.engine.n_rows, max(LEAST_CHUNK, int(self.rate * CHUNK_SECONDS)))

    def _in_turn(self, sequences):
        """Prompts by age, beginning behind the one that began last time."""
        order = [s for s in sequences if s.number > self._turn] + [s for s in sequences if s.number <= self._turn]
        if order:
            self._turn = order[0].number
        return order

    def _follows(self, sequence, active):
        """Whether another one is about to compute what this one needs next, so that waiting saves the work."""
        if not sequence.reuse or sequence.n_done % PAGE or sequence.n_done // PAGE != len(sequence.pages):
            return False
        depth, wanted = sequence.n_done // PAGE, sequence.wanted()
        if depth >= sequence.private:
            return False
        parent = sequence.parent(self.tree, depth)
        there = self.tree.closest_child(parent, wanted)[1]
        worth = min(WORTH_WAITING, self.engine.n_rows // 2)
        return any(
            self._leads(other, sequence, depth) and other.parent(self.tree, depth) is parent
            and common(other.tokens[depth * PAGE : depth * PAGE + PAGE], wanted) - there >= worth
            for other in active
        )  # fmt: skip

    @staticmethod
    def _leads(other, sequence, depth):
        """Whether the other one reads the same page of its prompt, and is ahead or, where it is not, older."""
        return (
            other.active and other is not sequence and other.n_done // PAGE == depth < other.private
            and other.remaining > 1 and (other.n_done, -other.number) > (sequence.n_done, -sequence.number)
        )  # fmt: skip

    def _with_pages(self, chosen, rows, active):
        """Take pages for the rows, the oldest sequence first; where there are none left the youngest goes to wait."""
        for sequence in chosen:
            while sequence.active and not sequence.need_pages(self.tree, self.engine, rows[sequence]):
                self.make_room(sequence, active)
        parts = [self._part(s, rows[s]) for s in chosen if s.active]
        # Who has pages in common lies side by side: attention then reads these once.
        return sorted(parts, key=_first_pages)

    @staticmethod
    def _part(sequence, count):
        """An answer's token is chosen after its last row, unless a shift comes before it goes on or none is wanted."""
        whole = count == sequence.remaining and not sequence.pending
        return Part(sequence, count, whole and not sequence.embeds and sequence.limit > 0)


def _age(sequence):
    return sequence.number


def _first_pages(part):
    return [page.number for page in part.sequence.pages[:16]]
