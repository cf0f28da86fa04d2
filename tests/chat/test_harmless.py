"""Nothing that a terminal would obey comes out of what a model writes."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from llamafile.chat.harmless import seen

BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def test_every_character_there_is():
    for code in range(0x110000):
        shown = seen(chr(code))
        for character in shown:
            assert character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cs"), hex(code)
            assert unicodedata.bidirectional(character) not in BIDI, hex(code)


def test_what_is_seen_instead():
    assert seen("\x1b[31mred\x1b]0;title\x07") == "␛[31mred␛]0;title␇"
    assert seen("a\x9b2Jb\x7f") == "a<9B>2Jb␡"
    assert seen("user\u202etxt.exe") == "user<U+202E>txt.exe"
    assert seen("one\r\ntwo\tthree\rfour") == "one\ntwo\tthreefour"
    assert seen("日本語 👩‍👩‍👧 עברית é") == "日本語 👩‍👩‍👧 עברית é"


@given(st.text(), st.text())
def test_pieces_are_as_the_whole(one, other):
    assert seen(one) + seen(other) == seen(one + other)
