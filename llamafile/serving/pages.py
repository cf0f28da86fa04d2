"""The pages of the cache: who uses which, and a tree by which prompts find pages that hold their beginning."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from runtime.ops import PAGE


class Page:
    """64 cells of the cache, the `depth`-th page of a text. `tokens` are those whose cells are computed.

    A page of the tree (`shared`) holds what follows its parent's tokens, whichever request computed it; only full ones
    are used by several at a time and have children. Others belong to one request.
    """

    __slots__ = ("children", "depth", "number", "parent", "refs", "shared", "tokens", "used")

    def __init__(self, number, parent, depth):
        self.number, self.parent, self.depth = number, parent, depth
        self.tokens: list[int] = []
        self.children: dict[int, list[Page]] = {}  # by their first token
        self.refs, self.shared, self.used = 1, False, 0


class Pages:
    """All pages of a cache. A page is free, idle (in the tree, used by nobody, evicted when needed) or in use."""

    def __init__(self, count):
        self.count = count
        self.clear()

    def clear(self):
        """Forget everything; nobody may use a page any more."""
        self.free = list(range(self.count - 1, -1, -1))
        self.idle = 0
        self.root = Page(-1, None, -1)
        self._clock = 0
        self._leaves: list[tuple[int, int, Page]] = []  # a heap of idle leaves, least recently used first; may be stale

    @property
    def available(self):
        """Pages that can be had: if one is idle, so are those below it, so all idle pages can be."""
        return len(self.free) + self.idle

    def match(self, tokens, limit):
        """The full pages in a row that hold the beginning of tokens, at most `limit` cells; nobody's use is counted."""
        page: Page | None = self.root
        found: list[Page] = []
        while len(found) * PAGE + PAGE <= limit:
            start = len(found) * PAGE
            page = self.full_child(page, tokens[start : start + PAGE])
            if page is None:
                break
            found.append(page)
        return found

    @staticmethod
    def full_child(parent, tokens):
        """The page behind parent that holds exactly these 64 tokens, or None."""
        return next((page for page in parent.children.get(tokens[0], ()) if page.tokens == tokens), None)

    @staticmethod
    def closest_child(parent, tokens):
        """The page behind parent that begins as tokens do for the longest, and for how many: (page or None, count)."""
        best, most = None, 0
        for page in parent.children.get(tokens[0], ()) if tokens else ():
            same = common(page.tokens, tokens)
            if same > most:
                best, most = page, same
        return best, most

    def take(self, parent, depth):
        """A page for one request to write to; None where all are in use."""
        if not self.free and not self._evict():
            return None
        return Page(self.free.pop(), parent, depth)

    def hold(self, page):
        """Count one more use of a page of the tree."""
        self.idle -= page.refs == 0
        page.refs += 1

    def drop(self, page):
        """Count one use less; a page that nobody can find is free then."""
        page.refs -= 1
        if page.refs:
            return
        if not page.shared:
            self.free.append(page.number)
            return
        self.idle += 1
        self._clock += 1
        page.used = self._clock
        self._offer(page)

    def publish(self, page):
        """Put a page that has its first tokens into the tree."""
        page.shared = True
        page.parent.children.setdefault(page.tokens[0], []).append(page)

    def settle(self, page):
        """See to a page of the tree that became full; returns the page to go on with, the one that was there before."""
        twins = [other for other in page.parent.children[page.tokens[0]] if other is not page]
        for other in twins:
            if other.tokens == page.tokens:
                self.hold(other)
                self._unlink(page)
                self.free.append(page.number)
                return other
        for other in twins:
            if not other.refs and not other.children and other.tokens == page.tokens[: len(other.tokens)]:
                self._discard(other)
        return page

    def adopt(self, page):
        """Take over an idle leaf to write on behind its tokens; returns whether that can be."""
        if page.refs or page.children or len(page.tokens) == PAGE:
            return False
        self.hold(page)
        return True

    def withdraw(self, page):
        """Take a page out of the tree, with what is idle below it; returns whether its one user may now change it."""
        if page.refs != 1 or (page.shared and not self._prune(page)):
            return False
        if page.shared:
            self._unlink(page)
        return True

    def forget(self, page):
        """Free an idle leaf; returns whether it was one."""
        if not page.shared or page.refs or page.children:
            return False
        self._discard(page)
        return True

    def _prune(self, page):
        """Free everything below a page; returns False, with some perhaps freed, where somebody uses it."""
        for child in [child for children in page.children.values() for child in children]:
            if child.refs or not self._prune(child):
                return False
            self._discard(child)
        return True

    def _evict(self):
        while self._leaves:
            used, _, page = heappop(self._leaves)
            if page.shared and not page.refs and not page.children and page.used == used:
                self._discard(page)
                return True
        return False

    def _discard(self, page):
        self._unlink(page)
        self.idle -= 1
        self.free.append(page.number)
        if page.parent is not self.root and not page.parent.refs and not page.parent.children:
            self._offer(page.parent)

    def _unlink(self, page):
        siblings = page.parent.children[page.tokens[0]]
        siblings.remove(page)
        if not siblings:
            del page.parent.children[page.tokens[0]]
        page.shared = False

    def _offer(self, page):
        if page.children:
            return
        heappush(self._leaves, (page.used, page.number, page))
        if len(self._leaves) > 4 * self.count:
            fresh = {id(e[2]): e for e in self._leaves if e[2].shared and not e[2].refs and e[2].used == e[0]}
            self._leaves = list(fresh.values())
            heapify(self._leaves)


def common(a, b):
    """How many items two sequences have in common at their beginnings."""
    same = 0
    for one, other in zip(a, b):
        if one != other:
            break
        same += 1
    return same
