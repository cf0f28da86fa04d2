"""A limit to how many tokens a model may think before it answers: then the end of its thoughts is written for it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llamafile.thinking import Marks
    from llamafile.tokens import Tokenizer


class Budget:
    """Wraps what an answer must follow (or None); made and used as a Grammar is."""

    def __init__(self, rule: Any, tokenizer: Tokenizer, marks: Marks, tokens: int, message: str = "",
                 thinking: bool = False) -> None:
        """`tokens` may be thought, then come a message and the mark; `thinking`: the prompt ends in thoughts."""
        self.rule, self.tokenizer, self.marks, self.tokens, self.thinking = rule, tokenizer, marks, tokens, thinking
        self.opening, self.closing = marks.opening.encode(), marks.closing.encode()
        self.cut = tokenizer.encode(message + marks.cut, add_special=False, parse_special=True)
        self.n_vocab = tokenizer.n_vocab

    def matcher(self) -> BudgetMatcher:
        """Return a matcher at the beginning of an answer."""
        return BudgetMatcher(self)


class BudgetMatcher:
    """A place in an answer; as Matcher, and `free` while neither the rule nor the limit has anything to say."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._inner = budget.rule.matcher() if budget.rule is not None else None
        self._text = bytearray()
        self._thinking: bool | None = True if budget.thinking else None  # None until it is known
        self._left = budget.tokens
        self._forced: list[int] = []
        self._force()

    @property
    def free(self) -> bool:
        """True while any token may come."""
        return not self._forced and (self._inner is None or getattr(self._inner, "free", False))

    @property
    def may_end(self) -> bool:
        """Whether the text may end here."""
        return not self._forced and (self._inner is None or self._inner.may_end)

    @property
    def finished(self) -> bool:
        """Whether nothing but the end may follow."""
        return not self._forced and self._inner is not None and self._inner.finished

    def fill(self, mask: Any) -> None:
        """Set the bits of the tokens that may come: one while the end of the thoughts is written."""
        if self._inner is not None and not self._forced:
            self._inner.fill(mask)
            return
        from llamafile._native import ffi

        words = (self.budget.n_vocab + 31) // 32
        if isinstance(mask, ffi.CData) and ffi.typeof(mask).kind == "array":
            words = len(mask)
        bits = ffi.cast("uint32_t *", mask)
        ffi.memmove(bits, (b"\0" if self._forced else b"\xff") * (4 * words), 4 * words)
        if self._forced:
            bits[self._forced[0] // 32] = 1 << self._forced[0] % 32

    def accept(self, token: int) -> None:
        """Go on by a token; raise ValueError for one that may not come."""
        if self._forced and token != self._forced[0]:
            raise ValueError(f"token {token} does not end the thoughts")
        if self._inner is not None:
            self._inner.accept(token)
        if self._forced:
            self._forced.pop(0)
        elif self._thinking is not False and token not in self.budget.tokenizer.eog:
            self._look(self.budget.tokenizer.piece(token, True))

    def _look(self, piece: bytes) -> None:
        """Follow the text up to the end of the thoughts."""
        budget = self.budget
        self._text += piece
        if self._thinking is None:
            head = bytes(self._text).lstrip()
            if head.startswith(budget.opening):
                self._thinking = True
            elif not budget.opening.startswith(head):
                self._thinking = False
        elif budget.closing in self._text[-len(budget.closing) - len(piece) :]:
            self._thinking = False
        else:
            self._left -= 1
        self._force()

    def _force(self) -> None:
        """Begin to write the end of the thoughts once nothing is left, but not in the middle of a character."""
        if self._thinking and self._left <= 0 and not _is_cut(self._text):
            self._forced, self._thinking = list(self.budget.cut), False

    def clone(self) -> BudgetMatcher:
        """Return a second matcher at the same place."""
        twin = BudgetMatcher(self.budget)
        twin._inner = self._inner.clone() if self._inner is not None else None
        twin._text, twin._thinking = bytearray(self._text), self._thinking
        twin._left, twin._forced = self._left, list(self._forced)
        return twin

    def reset(self) -> None:
        """Go back to the beginning."""
        self.__init__(self.budget)  # type: ignore[misc]


def _is_cut(text: bytearray) -> bool:
    """Return whether the last character of a text is not complete."""
    for back in range(1, min(3, len(text)) + 1):
        byte = text[-back]
        if byte >= 0xC0:
            return back < (2 if byte < 0xE0 else 3 if byte < 0xF0 else 4)
        if byte < 0x80:
            return False
    return False
