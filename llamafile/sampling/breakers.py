"""DRY's sequence breakers as tokens: every way in which a vocabulary can spell a text that ends a repetition."""

from __future__ import annotations

LONGEST_TAIL = 20  # tokens after the first one: a breaker is a word or a mark, not a page


def spellings(text: bytes, pieces, tokenize) -> list[list[int]]:
    """Return the token sequences in which `text` can occur: ids whose piece holds it, or ends in its beginning.

    `pieces` are the bytes of every token by ascending id; `tokenize` turns the rest of the text (bytes) into ids.
    """
    found = [[token] for token, piece in enumerate(pieces) if text in piece]
    for length in range(1, len(text)):
        start, tail = text[:length], list(tokenize(text[length:]))[:LONGEST_TAIL]
        if tail:
            ends = (token for token, piece in enumerate(pieces) if piece.endswith(start) and text not in piece)
            found += [[token, *tail] for token in ends]
    return found


def resolve(breakers, pieces, tokenize) -> list[list[int]]:
    """Return all breakers as token sequences: texts through `spellings`, sequences of ids as they are."""
    pieces = list(pieces)
    found: list[list[int]] = []
    for breaker in breakers:
        if isinstance(breaker, (str, bytes)):
            text = breaker.encode() if isinstance(breaker, str) else breaker
            if text:
                found += spellings(text, pieces, tokenize)
        else:
            found.append(list(breaker))
    return found
