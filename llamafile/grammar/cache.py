"""What is made once: the tree of each vocabulary, and the grammars that were compiled lately."""

from __future__ import annotations

import threading
import weakref

from llamafile._native import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from llamafile.grammar import Grammar
    from llamafile.tokens import Tokenizer

KEPT = 16  # grammars of each vocabulary

_lock = threading.Lock()
_kept: weakref.WeakKeyDictionary[Tokenizer, Vocabulary] = weakref.WeakKeyDictionary()


class Vocabulary:
    """The tree of a vocabulary's tokens, `n_vocab` of them, and its grammars, the latest last."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        ends = ffi.new("int32_t[]", sorted(tokenizer.eog))
        handle = lib.lf_trie_new(tokenizer.vocab, tokenizer.n_vocab, ends, len(ends))
        if handle == ffi.NULL:
            raise MemoryError
        self.handle = ffi.gc(handle, lib.lf_trie_free)
        self.n_vocab = tokenizer.n_vocab
        self.grammars: dict[tuple[str, str], Grammar] = {}


def trie(tokenizer: Tokenizer) -> Vocabulary:
    """Return the tree of a vocabulary, made now where there is none yet: some tens of milliseconds."""
    with _lock:
        found = _kept.get(tokenizer)
        if found is None:
            found = _kept[tokenizer] = Vocabulary(tokenizer)
        return found


def find(kind: str, text: Any, tokenizer: Tokenizer, make: Callable[[], Grammar]) -> Grammar:
    """Return the grammar kept for this text, or what `make` returns, which is then kept."""
    key = (kind, text if isinstance(text, str) else _written(text))
    grammars = trie(tokenizer).grammars
    with _lock:
        found = grammars.pop(key, None)
        if found is not None:
            grammars[key] = found
            return found
    made = make()
    with _lock:
        grammars[key] = made
        while len(grammars) > KEPT:
            del grammars[next(iter(grammars))]
    return made


def _written(value: Any) -> str:
    """Return a JSON value as text; the order of its keys is part of it, since it is that of the answer."""
    import json

    return json.dumps(value)
