"""Reading masks, and random texts made by taking allowed tokens until the end."""

from __future__ import annotations

import numpy as np

from llamafile._native import ffi


class Masks:
    """One mask for a vocabulary; `ids` are those that a matcher allows."""

    def __init__(self, tokenizer):
        self.tokenizer, self.n = tokenizer, tokenizer.n_vocab
        self.cdata = ffi.new("uint32_t[]", (self.n + 31) // 32)
        self.bytes = np.frombuffer(ffi.buffer(self.cdata), np.uint8)

    def ids(self, matcher):
        matcher.fill(self.cdata)
        return np.flatnonzero(np.unpackbits(self.bytes, bitorder="little")[: self.n])

    def spelled(self, grammar, text, *, pieces=None):
        """Whether a text can be written token by token, and then end."""
        matcher = grammar.matcher()
        for id in pieces if pieces is not None else self.tokenizer.encode(text, add_special=False, parse_special=False):
            if id not in self.ids(matcher):
                return False
            matcher.accept(id)
        return matcher.may_end

    def walk(self, grammar, chance, *, steps=40, closers=b'"]}0'):
        """A text of random allowed tokens, from `steps` on rather such as end something; None where it has no end."""
        matcher, text, eog = grammar.matcher(), b"", np.array(sorted(self.tokenizer.eog))
        closing = np.array([id for c in closers if (id := self.tokenizer.token_id(chr(c))) is not None])
        for step in range(6 * steps):
            ids = self.ids(matcher)
            assert len(ids), f"nothing may come after {text!r}"
            others = np.setdiff1d(ids, eog, assume_unique=True)
            assert (len(others) < len(ids)) == matcher.may_end
            if matcher.may_end and (not len(others) or step > steps or chance.random() < 0.3):
                return text
            if step > steps and chance.random() < 0.8:
                ends = np.intersect1d(others, closing, assume_unique=True)
                others = ends if len(ends) else others
            id = int(chance.choice(others))
            text += self.tokenizer.piece(id)
            matcher.accept(id)
        return None


def may(matcher, text):
    """Whether bytes may come from a matcher's place, and the text may then end."""
    twin = matcher.clone()
    return twin.accept_bytes(text) and twin.may_end
