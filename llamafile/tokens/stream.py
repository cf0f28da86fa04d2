"""Turns token ids, as they are generated, into text that never ends inside a character."""

from __future__ import annotations

from codecs import utf_8_decode


class StreamDecoder:
    """Holds back the bytes of an unfinished character; U+FFFD stands only for bytes that can no longer become one."""

    def __init__(self, tokenizer, special=False):
        """Decode ids of a tokenizer; control tokens are written out if `special`, else left out."""
        self._piece, self._special, self._held = tokenizer.piece, special, b""

    def push(self, id):
        """Return the text that one more id completes, which may be empty."""
        return self._decode(self._piece(id, self._special), False)

    def flush(self):
        """Return what is held back, as U+FFFD, at the end of the answer; then it may go on with another."""
        return self._decode(b"", True)

    def _decode(self, new, final):
        data = self._held + new
        text, used = utf_8_decode(data, "replace", final)
        self._held = data[used:]
        return text
