"""Finds reverse prompts in a stream of pieces, across the borders of tokens."""

from __future__ import annotations


class Stops:
    """Watches a stream of bytes for the first end of any of the texts."""

    def __init__(self, texts: list[bytes]) -> None:
        self.texts = [text for text in texts if text]
        self.reach = max(map(len, self.texts), default=1) - 1  # bytes of the past that a match may begin in
        self.past = b""

    def feed(self, piece: bytes) -> int:
        """Return how many bytes of the piece reach to the end of the earliest match, or -1; a match clears the past."""
        window = self.past + piece
        ends = [at + len(text) for text in self.texts if (at := window.find(text)) >= 0]
        if ends:
            end = min(ends) - len(self.past)
            self.past = b""
            return end
        self.past = window[-self.reach :] if self.reach else b""
        return -1

    def ends(self, text: bytes) -> bool:
        """Whether a whole text ends in one of those watched for, with white space behind it or not."""
        return any(text.endswith(stop) or text.rstrip().endswith(stop) for stop in self.texts)

    def clear(self) -> None:
        """Forget the past: what comes next does not go on from it."""
        self.past = b""
