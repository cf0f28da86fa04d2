"""Text that comes a token at a time never ends inside a character."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from llamafile.gguf.reader import open_path
from llamafile.tokens import StreamDecoder, Tokenizer

from . import texts
from .ggufs import real


class Bytes:
    """Stands in for a tokenizer whose ids are bytes, and -1 a control token."""

    def piece(self, id, special=False):
        return (b"<end>" if special else b"") if id < 0 else bytes([id])


def stream(ids, tokenizer=None, **how):
    """Return the parts that a decoder gives, with the flush last."""
    decoder = StreamDecoder(tokenizer or Bytes(), **how)
    return [*map(decoder.push, ids), decoder.flush()]


def test_characters_are_held_back():
    assert stream("aé€😀b".encode()) == ["a", "", "é", "", "", "€", "", "", "", "😀", "b", ""]


def test_broken_bytes_are_replaced_once():
    assert stream(b"a\xffb") == ["a", "\ufffd", "b", ""]
    assert stream(b"\xe2\x82x") == ["", "", "\ufffdx", ""]
    assert stream(b"\xf0\x9f\x98") == ["", "", "", "\ufffd"]
    assert "".join(stream(b"\xed\xa0\x80")) == "\ufffd\ufffd\ufffd"


def test_control_tokens_do_not_cut_characters():
    assert stream([0xC3, -1, 0xA9]) == ["", "", "é", ""]
    assert stream([0x61, -1], special=True) == ["a", "<end>", ""]


def test_flush_begins_anew():
    decoder = StreamDecoder(Bytes())
    assert decoder.push(0xC3) + decoder.flush() == "\ufffd"
    assert decoder.push(0xA9) + decoder.push(0x61) == "\ufffda"


@given(st.binary(max_size=60))
@settings(max_examples=500, deadline=None)
def test_parts_are_the_whole(data):
    parts = stream(data)
    assert "".join(parts) == data.decode("utf-8", "replace")


def test_real_vocabularies():
    text = texts.foreign(20_000, seed=17)
    for name in ("qwen0.5b", "tinycoder"):
        with open_path(real(name)) as file:
            tokenizer = Tokenizer(file)
            ids = tokenizer.encode(text, add_special=False, parse_special=False)
            parts = stream(ids, tokenizer)
            assert "".join(parts) == tokenizer.detokenize(ids, start=False).decode()
            assert "\ufffd" not in "".join(parts) and any(not p for p in parts)
            noise = random.Random(1).choices(range(tokenizer.n_vocab), k=3000)
            whole = tokenizer.detokenize(noise, start=False)
            assert "".join(stream(noise, tokenizer)) == whole.decode("utf-8", "replace")
