"""An answer's text as it grows: whole characters, with what may begin a stop text held back."""

from __future__ import annotations

from llamafile.tokens.stream import StreamDecoder


class Pieces:
    """A tokenizer's pieces, each asked for once: what StreamDecoder needs of a tokenizer."""

    def __init__(self, tokenizer):
        self._tokenizer = tokenizer
        self._known: dict[tuple[int, bool], bytes] = {}

    def piece(self, id, special=False):
        """The bytes that one id adds to a text."""
        found = self._known.get((id, special))
        if found is None:
            found = self._known[id, special] = self._tokenizer.piece(id, special)
        return found


class Answer:
    """Text out of tokens. `stopped` is the stop text that was met, or ""; then nothing more may be pushed."""

    __slots__ = ("_decoder", "_held", "_stops", "stopped", "text")

    def __init__(self, pieces, stops=(), special=False):
        self._decoder, self._stops = StreamDecoder(pieces, special), [stop for stop in stops if stop]
        self._held, self.stopped = "", ""
        self.text: list[str] = []  # what was given out, piece by piece

    def push(self, id):
        """Return the text that one more token lets out, which may be empty."""
        return self._let_out(self._decoder.push(id))

    def finish(self):
        """Return what was held back, at the end of the answer."""
        rest = "" if self.stopped else self._let_out(self._decoder.flush())
        held, self._held = self._held, ""
        return rest + self._given(held)

    def _let_out(self, new):
        if not self._stops:
            return self._given(new)
        window = self._held + new
        # As if it came character by character: what ends first counts, so tokens do not matter.
        ends = [(at + len(stop), at, stop) for stop in self._stops if (at := window.find(stop)) >= 0]
        if ends:
            _, at, self.stopped = min(ends)
            self._held = ""
            return self._given(window[:at])
        keep = max(_beginning(window, stop) for stop in self._stops)
        self._held = window[len(window) - keep :]
        return self._given(window[: len(window) - keep])

    def _given(self, text):
        if text:
            self.text.append(text)
        return text


def _beginning(text, stop):
    """How many characters at the end of text could be the beginning of stop."""
    start = max(0, len(text) - len(stop) + 1)
    while (start := text.find(stop[0], start)) >= 0:
        if stop.startswith(text[start:]):
            return len(text) - start
        start += 1
    return 0
