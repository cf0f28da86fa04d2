"""A grammar that begins to count in the middle of an answer, where a trigger appears."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from typing import Any

    from llamafile.grammar import Grammar, Matcher
    from llamafile.tokens import Tokenizer

BACK = 256  # bytes before a token in which a trigger may have begun
HEAD = 1024  # bytes in which a trigger that stands at the beginning is looked for


class Lazy:
    """A grammar behind a trigger; made and used as a Grammar is.

    `trigger` is a compiled pattern over bytes, looked for in the answer as it comes, its control tokens written out.
    The grammar's text begins at the pattern's group `call`, or behind the match where it took no part. `thought` is the
    pair of marks around what is thought and never looked into; `thinking` says that the prompt ends with the first.
    Text that the grammar does not allow at the trigger sets nothing off: the answer goes on freely.
    """

    def __init__(self, grammar: Grammar, trigger: re.Pattern[bytes], tokenizer: Tokenizer,
                 thought: tuple[bytes, bytes] | None = None, thinking: bool = False) -> None:
        self.grammar, self.trigger, self.tokenizer = grammar, trigger, tokenizer
        self.thought, self.thinking = thought, thinking
        self.n_vocab = grammar.n_vocab

    def matcher(self) -> LazyMatcher:
        """Return a matcher at the beginning of an answer."""
        return LazyMatcher(self)


class LazyMatcher:
    """A place in an answer; as Matcher, but that `free` is True until the trigger has come."""

    def __init__(self, lazy: Lazy) -> None:
        self.lazy = lazy
        self.grammar = lazy.grammar
        self.reset()

    @property
    def free(self) -> bool:
        """True while any token may come."""
        return self._inner is None

    @property
    def may_end(self) -> bool:
        """Whether the text may end here."""
        return self._inner is None or self._inner.may_end

    @property
    def finished(self) -> bool:
        """Whether nothing but the end may follow."""
        return self._inner is not None and self._inner.finished

    def fill(self, mask: Any) -> None:
        """Set the bits of the tokens that may come; all of them while `free`."""
        if self._inner is not None:
            self._inner.fill(mask)
            return
        from llamafile._native import ffi

        words = (self.grammar.n_vocab + 31) // 32
        if isinstance(mask, ffi.CData) and ffi.typeof(mask).kind == "array":
            words = len(mask)
        ffi.memmove(ffi.cast("uint32_t *", mask), b"\xff" * (4 * words), 4 * words)

    def accept(self, token: int) -> None:
        """Go on by a token; raise ValueError for one that may not come."""
        if self._inner is not None:
            self._inner.accept(token)
        elif token not in self.lazy.tokenizer.eog:
            self._look(self.lazy.tokenizer.piece(token, True))

    def clone(self) -> LazyMatcher:
        """Return a second matcher at the same place."""
        twin = LazyMatcher(self.lazy)
        twin._text, twin._from = bytearray(self._text), self._from
        twin._inner = None if self._inner is None else self._inner.clone()
        return twin

    def reset(self) -> None:
        """Go back to the beginning."""
        self._text = bytearray()
        self._from: int | None = None  # where a trigger may stand: behind what is thought
        self._inner: Matcher | None = None

    def _look(self, piece: bytes) -> None:
        """Add a piece to the text and begin with the grammar where the trigger is complete."""
        before = len(self._text)
        self._text += piece
        if self._from is None:
            self._from = self._behind_thought()
            before = self._from or 0
        if self._from is None:
            return
        start = max(self._from, before - BACK) if before - self._from > HEAD else self._from
        for match in self.lazy.trigger.finditer(bytes(self._text[self._from :]), start - self._from):
            begin = match.start("call") if match.groupdict().get("call") is not None else match.end()
            inner = self.grammar.matcher()
            if inner.accept_bytes(bytes(self._text[self._from + begin :])):
                self._inner = inner
                return

    def _behind_thought(self) -> int | None:
        """Return where the answer proper begins, or None while that cannot be said."""
        if self.lazy.thought is None:
            return 0
        opening, closing = self.lazy.thought
        head = bytes(self._text).lstrip()
        if not self.lazy.thinking and not head.startswith(opening):
            return None if opening.startswith(head) else 0
        at = self._text.find(closing)
        return None if at < 0 else at + len(closing)
