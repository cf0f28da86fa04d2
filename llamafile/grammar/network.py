"""From the expressions of a grammar to the network of nodes that the automaton in C runs on."""

from __future__ import annotations

from array import array

from llamafile._native import lib
from llamafile.errors import LlamafileError

# An expression is a tuple, its first item one of these:
TEXT = "text"  # bytes
CHARS = "chars"  # ((first, last), ...): one character of these ranges of code points
CALL = "call"  # a rule's name
SEQUENCE = "sequence"  # expressions, one after the other
CHOICE = "choice"  # expressions, one of which
REPEAT = "repeat"  # an expression, least, most or None
TOKENS = "tokens"  # ids, and whether all others are meant

EMPTY: tuple = (SEQUENCE, ())
NEVER: tuple = (CHOICE, ())

UNROLLED = 40  # nodes up to which a counted repetition is written out
EFFORT_LIMIT = 40_000  # nodes asked for, of text a fourth of its bytes: one or two microseconds each
LAST = 0x10FFFF
SURROGATES = (0xD800, 0xDFFF)

_BYTES = lib.LF_NODE_BYTES  # looked up in a library, a name costs as much as all the rest of a node


class Network:
    """Nodes, sets and rules as lf_grammar_source holds them; built from the end of a rule to its beginning."""

    def __init__(self) -> None:
        self.nodes = array("I", (lib.LF_NODE_END, 0, 0))
        self.rules: list[int] = []
        self.sets = bytearray()
        self.counts = array("I")
        self.tokens = array("I")
        self.ids = array("i")
        self._made: dict[tuple, int] = {}
        self._set_numbers: dict[int, int] = {}
        self._rule_numbers: dict[str, int] = {}
        self._sizes: dict[int, int] = {}  # by the id of an expression, all of which are alive while one builds
        self._unrolled: dict[tuple, int] = {}
        self._tails: dict[tuple, list[list[int]]] = {}
        self.effort = 0

    def build(self, rules: dict, root: str = "root") -> None:
        """Lower rules (names to expressions), of which `root` is where a text begins."""
        self._rule_numbers = {name: number for number, name in enumerate([root, *(r for r in rules if r != root)])}
        self.rules = [0] * len(self._rule_numbers)
        for name, number in self._rule_numbers.items():
            self.rules[number] = self.lower(rules[name], 0)

    def lower(self, expression: tuple, following: int) -> int:
        """Return the node where an expression begins that goes on at `following`."""
        kind = expression[0]
        if kind == TEXT:
            return self._text(expression[1], following)
        if kind == CALL:
            return self._node(lib.LF_NODE_CALL, self._rule_numbers[expression[1]], following)
        if kind == SEQUENCE:
            for part in reversed(expression[1]):
                following = self.lower(part, following)
            return following
        return self._LOWERED[kind](self, expression, following)

    def _text(self, text: bytes, following: int) -> int:
        self._spend(1 + len(text) // 4)
        made, nodes = self._made, self.nodes
        for byte in reversed(text):
            key = (_BYTES, self._set(1 << byte), following)
            number = made.get(key)
            if number is None:
                number = made[key] = len(nodes) // 3
                nodes.extend(key)
            following = number
        return following

    def _choice(self, expression: tuple, following: int) -> int:
        parts = expression[1]
        texts = [part[1] for part in parts if part[0] == TEXT]
        if len(texts) > 2:
            rest = [self.lower(part, following) for part in parts if part[0] != TEXT]
            return self._split([self._words(texts, following), *rest])
        return self._split([self.lower(part, following) for part in parts])

    def _split(self, ways: list[int]) -> int:
        ways = list(dict.fromkeys(ways))
        if not ways:
            return self._node(_BYTES, self._set(0), 0)
        chosen = ways.pop()
        while ways:
            chosen = self._node(lib.LF_NODE_SPLIT, ways.pop(), chosen)
        return chosen

    def _words(self, words: list[bytes], following: int) -> int:
        """Return the node of a choice among words, whose common beginnings become one."""
        self._spend(sum(map(len, words)) // 2)
        tree: dict = {}
        for word in words:
            at = tree
            for byte in word:
                at = at.setdefault(byte, {})
            at[None] = None
        waiting, done = [(tree, False)], dict[int, int]()
        while waiting:
            at, seen = waiting.pop()
            if not seen:
                waiting.append((at, True))
                waiting += [(below, False) for byte, below in at.items() if byte is not None]
                continue
            same: dict[int, int] = {}  # what comes behind: the bytes that lead there
            for byte, below in at.items():
                if byte is not None:
                    node = done.pop(id(below))
                    same[node] = same.get(node, 0) | 1 << byte
            ways = [self._node(_BYTES, self._set(bits), node) for node, bits in same.items()]
            done[id(at)] = self._split(ways + [following] * (None in at))
        return done[id(tree)]

    def _chars(self, expression: tuple, following: int) -> int:
        ways = []
        for sets in self._byte_sets(expression[1]):
            node = following
            for number in sets:
                node = self._node(_BYTES, number, node)
            ways.append(node)
        return self._split(ways)

    def _byte_sets(self, ranges: tuple) -> list[list[int]]:
        """Return the sequences of sets of bytes, from the last one, that spell one character of these ranges."""
        known = self._tails.get(ranges)
        if known is None:
            self._spend(8 * len(ranges))
            tails: dict[tuple, int] = {}  # the bytes behind the first: the set of first bytes
            for low, high in dict.fromkeys(ranges):
                for sequence in utf8_ranges(low, high):
                    tails[sequence[1:]] = tails.get(sequence[1:], 0) | _bits(*sequence[0])
            known = self._tails[ranges] = [
                [*(self._set(_bits(*each)) for each in reversed(tail)), self._set(first)]
                for tail, first in tails.items()]
        return known

    def _repeat(self, expression: tuple, following: int) -> int:
        _, part, least, most = expression
        if most is None and least <= 1:
            loop = self._fresh(lib.LF_NODE_SPLIT, 0, following)
            body = self.nodes[3 * loop + 1] = self.lower(part, loop)
            return body if least else loop
        if most is None or most * self._size(part) > UNROLLED:
            return self._counted(part, least, most, following)
        key = (id(part), least, most, following)
        node = self._unrolled.get(key)
        if node is None:
            node = self._unrolled[key] = self._written_out(part, least, most, following)
        return node

    def _written_out(self, part: tuple, least: int, most: int, following: int) -> int:
        node = following
        for place in range(most - 1, -1, -1):
            body = self.lower(part, node)
            node = body if place < least else self._split([body, following])
        return node

    def _counted(self, part: tuple, least: int, most: int | None, following: int) -> int:
        number = len(self.rules)
        self.rules.append(0)
        self.rules[number] = self.lower(part, 0)
        limit = lib.LF_NO_LIMIT
        self.counts.extend((number, min(least, limit - 1), limit if most is None else min(most, limit - 1)))
        return self._fresh(lib.LF_NODE_COUNT, len(self.counts) // 3 - 1, following)

    def _token_set(self, expression: tuple, following: int) -> int:
        _, ids, negated = expression
        self.tokens.extend((len(self.ids), len(ids), negated))
        self.ids.extend(ids)
        return self._fresh(lib.LF_NODE_TOKEN, len(self.tokens) // 3 - 1, following)

    _LOWERED = {CHOICE: _choice, CHARS: _chars, REPEAT: _repeat, TOKENS: _token_set}  # noqa: RUF012

    def _size(self, expression: tuple) -> int:
        """Return about how many nodes an expression takes."""
        kind = expression[0]
        if kind == TEXT:
            return len(expression[1])
        if kind in (SEQUENCE, CHOICE):
            known = self._sizes.get(id(expression))
            if known is None:
                known = self._sizes[id(expression)] = 1 + sum(map(self._size, expression[1]))
            return known
        if kind == CHARS:
            return sum(1 if last < 0x80 else 4 for _, last in expression[1])
        if kind == REPEAT:
            return 1 + self._size(expression[1]) * min(max(expression[2], expression[3] or 1), UNROLLED)
        return 1

    def _node(self, kind: int, arg: int, following: int) -> int:
        """Return a node that does this, an older one where there is one."""
        self._spend(1)
        key = (kind, arg, following)
        number = self._made.get(key)
        if number is None:
            number = self._made[key] = len(self.nodes) // 3
            self.nodes.extend(key)
        return number

    def _fresh(self, kind: int, arg: int, following: int) -> int:
        self._spend(1)
        number = len(self.nodes) // 3
        self.nodes.extend((kind, arg, following))
        return number

    def _spend(self, effort: int) -> None:
        self.effort += effort
        if self.effort > EFFORT_LIMIT:
            raise LlamafileError("grammar: is too large; make it simpler")

    def _set(self, bits: int) -> int:
        number = self._set_numbers.get(bits)
        if number is None:
            number = self._set_numbers[bits] = len(self.sets) // 32
            self.sets += bits.to_bytes(32, "little")
        return number


def _bits(low: int, high: int) -> int:
    return (1 << high + 1) - (1 << low)


def utf8_ranges(first: int, last: int) -> list[tuple[tuple[int, int], ...]]:
    """Return sequences of byte ranges that together match the UTF-8 of just these code points, surrogates left out."""
    if first > last:
        return []
    low, high = SURROGATES
    if first <= high and last >= low:
        return utf8_ranges(first, low - 1) + utf8_ranges(high + 1, last)
    for limit in (0x7F, 0x7FF, 0xFFFF):
        if first <= limit < last:
            return utf8_ranges(first, limit) + utf8_ranges(limit + 1, last)
    if last < 0x80:
        return [((first, last),)]
    for size in (1, 2, 3):  # cut so that the last `size` bytes run over whole ranges, or are the same
        mask = (1 << 6 * size) - 1
        if first & ~mask != last & ~mask:
            if first & mask:
                return utf8_ranges(first, first | mask) + utf8_ranges((first | mask) + 1, last)
            if last & mask != mask:
                return utf8_ranges(first, (last & ~mask) - 1) + utf8_ranges(last & ~mask, last)
    return [tuple(zip(chr(first).encode(), chr(last).encode(), strict=True))]
