"""A request being answered: its tokens, the pages that hold their cells, and what it takes to go on or begin again."""

from __future__ import annotations

from llamafile._native import ffi as native
from runtime.ops import PAGE

from .counters import Clock
from .engine import cells_of
from .pages import Page

ALL = 1 << 30


class Sequence:
    """`tokens` are prompt and answer, less what a shift dropped; the first `n_done` of them have cells, in `pages`.

    Pages from the `private`-th on are no part of the tree: their cells depend on tokens that a shift dropped, or they
    are an embedding's. A sequence that had to give up its pages starts from nothing and goes through `pending`, the
    shifts it made before, so that its cells become the very same again.
    """

    __slots__ = (
        "active", "answer", "cancelled", "clock", "deliver", "embeds", "generated", "limit", "mask", "masked",
        "matcher", "n_ctx", "n_done", "number", "pages", "pending", "pooled", "private", "probs", "request", "reuse",
        "sampler", "sent", "shifts", "slot", "table", "tabled", "text", "tokens",
        "truncated",
    )  # fmt: skip

    def __init__(self, request, deliver, number, n_ctx):
        self.request, self.deliver, self.number, self.n_ctx = request, deliver, number, n_ctx
        self.tokens = list(request.prompt)
        self.generated: list[int] = []
        self.n_done, self.private = 0, ALL
        self.pages: list = []
        self.table, self.tabled = None, 0  # the engine's: numbers of the pages, and how many of them are right
        self.shifts: list[tuple[int, int, int]] = []  # tokens evaluated in all before it, kept, dropped
        self.pending: list[tuple[int, int, int]] = []
        self.active = self.cancelled = self.truncated = False
        self.slot = self.sampler = self.matcher = self.answer = self.pooled = None
        self.text = None  # a speculation Text, once it writes
        self.mask, self.masked = native.NULL, False
        self.reuse, self.embeds = request.cache_prompt, request.kind == "embedding"
        self.limit = request.n_predict if request.n_predict >= 0 else ALL
        self.clock = Clock(len(request.prompt))
        self.probs: list[dict] = []
        self.sent = 0  # of the generated tokens

    @property
    def remaining(self):
        """Tokens that wait to be computed."""
        return len(self.tokens) - self.n_done

    @property
    def reading(self):
        """Whether it is still at its prompt: no token was chosen yet."""
        return not self.clock.first

    def parent(self, tree, index):
        """The page of the tree that its index-th page comes after."""
        return self.pages[index - 1] if index else tree.root

    def attach_full(self, tree):
        """Use the full pages of the tree that hold what comes next."""
        while self._may_attach() and self.n_done + PAGE < len(self.tokens):
            wanted = self.tokens[self.n_done : self.n_done + PAGE]
            page = tree.full_child(self.parent(tree, self.n_done // PAGE), wanted)
            if page is None:
                return
            tree.hold(page)
            self._attach(page, PAGE)

    def attach_part(self, tree, engine):
        """Use the beginning of a page of the tree for what comes next: the page itself where it is left over, or a
        copy of its cells."""
        if not self._may_attach() or self.remaining < 2:
            return
        depth = self.n_done // PAGE
        parent = self.parent(tree, depth)
        found, same = tree.closest_child(parent, self.wanted())
        if found is None:
            return
        if same == len(found.tokens) and tree.adopt(found):
            self._attach(found, same)
            return
        tree.hold(found)
        page = tree.take(parent, depth)
        if page is not None:
            engine.place(page)
            engine.copy(cells_of([found], 0, same), cells_of([page], 0, same))
            page.tokens = found.tokens[:same]
            tree.publish(page)
            self._attach(page, same)
        tree.drop(found)

    def wanted(self):
        """The tokens of the next page that could come out of the tree: the last one is always computed."""
        return self.tokens[self.n_done : min(self.n_done + PAGE, len(self.tokens) - 1)]

    def _may_attach(self):
        return self.reuse and self.n_done % PAGE == 0 and self.n_done // PAGE == len(self.pages) < self.private

    def _attach(self, page, count):
        self.pages.append(page)
        self.n_done += count
        if self.reading:
            self.clock.cached += count

    def need_pages(self, tree, engine, count):
        """Take the pages for `count` more cells; returns False where there are none left, with what it got so far."""
        while len(self.pages) * PAGE < self.n_done + count:
            depth = len(self.pages)
            page = tree.take(self.parent(tree, depth), depth)
            if page is None:
                return False
            engine.place(page)
            self.pages.append(page)
        return True

    def record(self, tree, count):
        """Note that the next `count` tokens have their cells, and let others find them."""
        first, self.n_done = self.n_done, self.n_done + count
        while first < self.n_done:
            index, at = divmod(first, PAGE)
            n = min(PAGE - at, self.n_done - first)
            if index < self.private:
                self._record_page(tree, index, self.tokens[first : first + n])
            first += n

    def _record_page(self, tree, index, tokens):
        page = self.pages[index]
        page.tokens += tokens
        if not page.shared:
            tree.publish(page)
        if len(page.tokens) == PAGE:
            settled = tree.settle(page)
            if settled is not page:
                self.pages[index], self.tabled = settled, min(self.tabled, index)
                if index + 1 < len(self.pages):
                    self.pages[index + 1].parent = settled

    def release(self, tree):
        """Give all pages back, the last one first."""
        self.tabled = 0
        while self.pages:
            tree.drop(self.pages.pop())

    def trim(self, tree):
        """Give back the pages behind the one that the next token's cell is in."""
        while (len(self.pages) - 1) * PAGE > self.n_done:
            tree.drop(self.pages.pop())
        self.tabled = min(self.tabled, len(self.pages))

    def start_over(self, tree):
        """Give all pages back and go to the beginning, to be computed once more."""
        self.release(tree)
        self.active, self.n_done = False, 0
        if self.reading:
            self.clock.cached = 0
        whole = self.request.prompt + self.generated
        self.pending = list(self.shifts)
        self.tokens = whole[: self.pending[0][0]] if self.pending else whole
        self.pooled = None
        if not self.embeds:
            self.private = ALL

    def drop_cells(self, tree, engine, keep, discard):
        """Drop `discard` cells after the first `keep` and move the rest down; returns False where pages are missing.

        Pages that others use are replaced by fresh ones first; of the rest each cell moves within its place.
        """
        count, first = self.n_done, keep // PAGE
        left = count - discard
        own = {i for i in range(len(self.pages) - 1, first - 1, -1) if self._make_own(tree, i)}
        fresh: dict[int, Page] = {}
        for i in range(first, -(-left // PAGE)):
            if i not in own:
                page = tree.take(tree.root, i)
                if page is None:
                    for taken in fresh.values():
                        tree.drop(taken)
                    return False
                fresh[i] = page
        before = self.pages
        self.pages = [fresh.get(i, page) for i, page in enumerate(before[: -(-left // PAGE)])]
        for page in fresh.values():
            engine.place(page)
        if first in fresh and keep % PAGE:
            engine.copy(cells_of(before, first * PAGE, keep), cells_of(self.pages, first * PAGE, keep))
        engine.shift(cells_of(before, keep + discard, count), cells_of(self.pages, keep, left), discard)
        for i in range(len(before) - 1, first - 1, -1):
            if i in fresh or i >= len(self.pages):
                tree.drop(before[i])
        self.private, self.tabled = min(self.private, first), min(self.tabled, first)
        del self.tokens[keep : keep + discard]
        self.n_done = left
        return True

    def _make_own(self, tree, index):
        """Take a page out of the tree where nobody else uses it."""
        if not tree.withdraw(self.pages[index]):
            return False
        self.private = min(self.private, index)
        return True

    def next_stretch(self):
        """After a shift that is made once more: append the tokens that came between it and the next one."""
        at = self.pending.pop(0)[0]
        whole = self.request.prompt + self.generated
        self.tokens += whole[at : self.pending[0][0]] if self.pending else whole[at:]
