"""Answers that follow a grammar: from GBNF, a JSON schema or a regular expression to the tokens that may come next.

The engine is our own, in C: an Earley automaton over bytes whose states are made when first reached and kept, with the
mask of allowed tokens of each (automaton.h, masks.c). docs/grammar.md says what it was measured against, and why it is
not the library llguidance.

    grammar = compile("gbnf", 'root ::= "yes" | "no"', tokenizer)
    matcher = grammar.matcher()
    matcher.fill(mask)               # uint32[(n_vocab + 31) // 32], as Sampler.sample takes it
    matcher.accept(token)            # what was chosen; raises ValueError for a token that may not come
"""

from __future__ import annotations

from llamafile._native import ffi, lib
from llamafile.errors import LlamafileError

from .network import CALL, CHARS, REPEAT, SEQUENCE, Network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llamafile.tokens import Tokenizer

__all__ = ["KINDS", "Grammar", "Matcher", "compile"]

KINDS = ("gbnf", "json_schema", "regex")


def compile(kind: str, text: Any, tokenizer: Tokenizer, *, blanks_first: bool = False) -> Grammar:
    """Return the grammar of a text of one of KINDS over a vocabulary; the same grammar where it was compiled lately.

    A JSON schema may also be an object as json.loads gives it. Raise LlamafileError, in one line, for a text that is
    wrong (GBNF by line and column, a schema by its JSON path), too large, or matches nothing. `blanks_first` lets up to
    four blanks or newlines come before the text, as models write them behind what they thought.
    """
    from . import cache

    def make() -> Grammar:
        rules = _rules(kind, text, tokenizer)
        if not blanks_first:
            return of_rules(rules, tokenizer)
        blanks = (REPEAT, (CHARS, ((10, 10), (32, 32))), 0, 4)
        rules["blanks, then root"] = (SEQUENCE, (blanks, (CALL, "root")))
        return of_rules(rules, tokenizer, "blanks, then root")

    return cache.find(f"{kind} behind blanks" if blanks_first else kind, text, tokenizer, make)


def of_rules(rules: dict[str, tuple], tokenizer: Tokenizer, root: str = "root") -> Grammar:
    """Return the grammar of rules, names to the expressions of network.py, of which `root` is where a text begins."""
    from . import cache

    network = Network()
    try:
        network.build(rules, root)
    except RecursionError:
        raise LlamafileError("grammar: is nested too deeply; make it simpler") from None
    return Grammar(network, cache.trie(tokenizer))


def _rules(kind: str, text: Any, tokenizer: Tokenizer) -> dict[str, tuple]:
    if kind == "gbnf":
        from . import gbnf

        return gbnf.read(text, tokenizer)
    if kind == "json_schema":
        from . import schema

        return schema.read(text)
    if kind == "regex":
        from . import regex

        return {"root": regex.read(text)}
    raise LlamafileError(f"grammar: there is no kind {kind!r}; there are {', '.join(KINDS)}")


class Grammar:
    """A grammar over a vocabulary; its states are shared by all its matchers, which several threads may use."""

    __slots__ = ("handle", "n_vocab")

    def __init__(self, network: Network, trie: Any) -> None:
        """Open a network's grammar; `trie` is what cache.trie returns."""
        problem = ffi.new("const char **")
        source, kept = _source(network)
        handle = lib.lf_grammar_new(trie.handle, source, problem)
        del kept
        if handle == ffi.NULL:
            raise LlamafileError(f"grammar: {ffi.string(problem[0]).decode()}")
        self.handle = ffi.gc(handle, lib.lf_grammar_free)
        self.n_vocab = trie.n_vocab

    def matcher(self) -> Matcher:
        """Return a matcher at the beginning of a text."""
        return Matcher(self, _owned(lib.lf_matcher_new(self.handle)))

    @property
    def nbytes(self) -> int:
        """Bytes that the states and masks take which have been made so far."""
        return lib.lf_grammar_size(self.handle)


class Matcher:
    """A place in a text that follows a grammar; to be used by one thread at a time."""

    __slots__ = ("_handle", "grammar")

    def __init__(self, grammar: Grammar, handle: Any) -> None:
        self.grammar, self._handle = grammar, handle

    @property
    def free(self) -> bool:
        """True while any token may come, so that no mask is needed: a lazy grammar whose trigger has not come."""
        return False

    def fill(self, mask: Any) -> None:
        """Set the bits of the tokens that may come, and clear all others: bit i % 32 of word i // 32 for id i.

        `mask` is cdata uint32[(n_vocab + 31) // 32] or longer, or the address of just so many words. The ends of the
        model may come where the text may end. Raise LlamafileError where the grammar is too ambiguous to go on.
        """
        words = (self.grammar.n_vocab + 31) // 32
        if isinstance(mask, ffi.CData) and ffi.typeof(mask).kind == "array":
            words = len(mask)
        self._check(lib.lf_matcher_fill(self._handle, ffi.cast("uint32_t *", mask), words), "the mask is too short")

    def accept(self, token: int) -> None:
        """Go on by a token; raise ValueError, with nothing changed, for one that may not come here."""
        self._check(lib.lf_matcher_accept(self._handle, token), f"token {token} does not follow the grammar")

    def accept_bytes(self, text: bytes) -> bool:
        """Go on by bytes; return False, with nothing changed, where they cannot come here."""
        code = lib.lf_matcher_accept_bytes(self._handle, ffi.from_buffer(text), len(text))
        if code == lib.LF_GRAMMAR_REFUSED:
            return False
        self._check(code, "")
        return True

    @property
    def may_end(self) -> bool:
        """Whether the text may end here."""
        return bool(lib.lf_matcher_may_end(self._handle))

    @property
    def finished(self) -> bool:
        """Whether nothing but the end may follow."""
        return bool(lib.lf_matcher_finished(self._handle))

    def clone(self) -> Matcher:
        """Return a second matcher at the same place."""
        return Matcher(self.grammar, _owned(lib.lf_matcher_clone(self._handle)))

    def reset(self) -> None:
        """Go back to the beginning."""
        lib.lf_matcher_reset(self._handle)

    @staticmethod
    def _check(code: int, refusal: str) -> None:
        if code == lib.LF_GRAMMAR_REFUSED:
            raise ValueError(refusal)
        if code == lib.LF_GRAMMAR_AMBIGUOUS:
            raise LlamafileError("grammar: there are too many ways to go on at once; make it less ambiguous")
        if code == lib.LF_GRAMMAR_DEEP:
            raise LlamafileError("grammar: the text is nested too deeply; limit the depth in the grammar")
        if code:
            raise MemoryError


def _owned(handle: Any) -> Any:
    if handle == ffi.NULL:
        raise MemoryError
    return ffi.gc(handle, lib.lf_matcher_free)


def _source(network: Network) -> tuple[Any, tuple]:
    """Return an lf_grammar_source and what must stay alive with it."""
    lists = (("nodes", "lf_grammar_node *", network.nodes, 3), ("counts", "lf_grammar_count *", network.counts, 3),
             ("tokens", "lf_grammar_tokens *", network.tokens, 3), ("ids", "int32_t *", network.ids, 1),
             ("sets", "uint8_t *", network.sets, 32))
    source, kept = ffi.new("lf_grammar_source *"), []
    for name, kind, items, width in lists:
        view = ffi.from_buffer(items)
        kept.append(view)
        setattr(source, name, ffi.cast(kind, view))
        setattr(source, f"n_{name}", len(items) // width)
    rules = ffi.new("uint32_t[]", network.rules)
    source.rules, source.n_rules = rules, len(network.rules)
    return source, (*kept, rules)
