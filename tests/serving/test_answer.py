"""Text comes out in whole characters, and a stop text ends it wherever tokens cut it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llamafile.serving.answer import Answer


class Bytes:
    """A tokenizer whose id i is the i-th of some pieces."""

    def __init__(self, pieces):
        self.pieces = pieces

    def piece(self, id, special=False):
        return self.pieces[id]


def write(pieces, stops):
    """(what was let out at each piece, the rest, the stop text)."""
    answer, out = Answer(Bytes(pieces), stops), []
    for i in range(len(pieces)):
        out.append(answer.push(i))
        if answer.stopped:
            break
    rest = answer.finish()
    assert "".join(out) + rest == "".join(answer.text)
    return out, rest, answer.stopped


def by_characters(text, stops):
    """The text up to the stop that is complete first, the longest of those; the slow and plain way."""
    for end in range(1, len(text) + 1):
        met = [stop for stop in stops if text[:end].endswith(stop)]
        if met:
            stop = max(met, key=len)
            return text[: end - len(stop)], stop
    return text, ""


def test_examples():
    assert write([b"Hel", b"lo\nUs", b"er", b": x"], ["\nUser:"]) == (["Hel", "lo", "", ""], "", "\nUser:")
    assert write([b"a\nUs", b"ing"], ["\nUser:"]) == (["a", "\nUsing"], "", "")
    assert write([b"a\nUs"], ["\nUser:"]) == (["a"], "\nUs", "")
    assert write([b"a", b"b"], []) == (["a", "b"], "", "")
    assert write(["ü".encode()[:1], "ü".encode()[1:] + b"!"], ["!"]) == (["", "ü"], "", "!")
    assert write([b"x", "€".encode()[:2]], []) == (["x", ""], "�", "")
    assert write([b"aab"], ["ab", "aab"]) == ([""], "", "aab")
    assert write([b"abcde"], ["bc", "abcd"]) == (["a"], "", "bc")


@given(text=st.text("abü", max_size=30), cuts=st.lists(st.integers(1, 4), max_size=40),
       stops=st.lists(st.text("abü", min_size=1, max_size=5), max_size=3))
def test_against_the_plain_way(text, cuts, stops):
    raw, pieces, at = text.encode(), [], 0
    for cut in [*cuts, len(raw)]:
        pieces.append(raw[at : at + cut])
        at += cut
    expected, stop = by_characters(text, stops)
    out, rest, stopped = write(pieces, stops)
    assert ("".join(out) + rest, stopped) == (expected, stop)
    # Nothing is let out that could still turn out to be a stop text, and nothing is held back needlessly.
    given_out, seen = "", b""
    for piece, new in zip(pieces, out, strict=False):
        seen, given_out = seen + piece, given_out + new
        known = seen.decode("utf-8", "ignore")
        held = known[len(given_out):] if not stop or len(given_out) < len(expected) else ""
        assert not held or any(s.startswith(held) or stop for s in stops)
