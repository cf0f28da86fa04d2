"""Tells a model's thoughts from its answer while both are being written."""

from __future__ import annotations

from llamafile.thinking import FAMILIES

ANSWER, THOUGHT = "answer", "thought"
# How models mark what they think: beginning and end.
MARKS = tuple(dict.fromkeys((marks.opening, marks.closing) for marks in FAMILIES if not marks.channels))


class Thoughts:
    """Fed with pieces of text, gives them back as (kind, text); holds back what may turn out to be half a mark.

    Thoughts stand only at the beginning of an answer. `prompt` is the text that the model goes on from: it may have
    opened the thoughts already.
    """

    def __init__(self, prompt: str = "") -> None:
        tail = prompt.rstrip()
        self._end = next((end for begin, end in MARKS if tail.endswith(begin)), "")
        self._may_begin = not self._end
        self._trim = bool(self._end)  # white space after a mark belongs to it
        self._held = ""

    def feed(self, text: str) -> list[tuple[str, str]]:
        """Return what has become certain."""
        self._held += text
        parts: list[tuple[str, str]] = []
        if self._may_begin:
            self._look_for_beginning()
        if self._may_begin:
            return parts
        if self._trim:
            self._held = self._held.lstrip()
            self._trim = not self._held
        if self._end:
            self._think(parts)
        if not self._end and self._held:
            if self._trim:
                self._held = self._held.lstrip()
                self._trim = not self._held
            parts.append((ANSWER, self._held))
            self._held = ""
        return [part for part in parts if part[1]]

    def flush(self) -> list[tuple[str, str]]:
        """Return what is held back, at the end of the answer."""
        held, self._held = self._held, ""
        return [(THOUGHT if self._end else ANSWER, held)] if held else []

    def _look_for_beginning(self) -> None:
        start = self._held.lstrip()
        for begin, end in MARKS:
            if start.startswith(begin):
                self._held, self._end, self._trim = start[len(begin) :], end, True
                self._may_begin = False
                return
        self._may_begin = any(begin.startswith(start) for begin, _ in MARKS)

    def _think(self, parts: list[tuple[str, str]]) -> None:
        thought, mark, rest = self._held.partition(self._end)
        if mark:
            parts.append((THOUGHT, thought.rstrip()))
            self._held, self._end, self._trim = rest, "", True
            return
        keep = _beginning_of(self._end, thought)
        # White space before the end mark belongs to it as well.
        keep = len(thought) - len(thought[: len(thought) - keep].rstrip())
        parts.append((THOUGHT, thought[: len(thought) - keep]))
        self._held = thought[len(thought) - keep :]


def _beginning_of(mark: str, text: str) -> int:
    """How many characters at the end of the text may be the beginning of the mark."""
    return next((n for n in range(min(len(mark) - 1, len(text)), 0, -1) if text.endswith(mark[:n])), 0)
