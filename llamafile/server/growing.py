"""An answer whose parts grow one after the other (thoughts, text, calls), told as events of whatever form."""

from __future__ import annotations

from abc import ABC, abstractmethod

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llamafile.server.chat import Answer

    Events = list[dict[str, Any]]

THOUGHT, TEXT = "thought", "text"


class Growing(ABC):
    """Takes the text of an answer; a form says by `opened`, `grown` and `closed` what events its parts make.

    `open` is the kind of the part that still grows (THOUGHT, TEXT, or a call with its number), "" for none.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.open = ""

    @abstractmethod
    def opened(self, kind: str, call: dict[str, Any] | None) -> Events:
        """Begin a part; `call` is the delta that begins a call."""

    @abstractmethod
    def grown(self, kind: str, words: str) -> Events:
        """Add to the last part."""

    @abstractmethod
    def closed(self, whole: bool) -> Events:
        """End the last part; `whole` says that nothing of it is missing."""

    def feed(self, text: str) -> Events:
        """Take more text and return the events to send where the answer is streamed."""
        return self._take(self.answer.feed(text))

    def end(self, whole: bool) -> Events:
        """Take the end of the text; an answer without any part has an empty text."""
        made = self._take(self.answer.close())
        if not self.open:
            made += self._switch(TEXT, None)
        return [*made, *self._close(whole)]

    def _take(self, deltas: Events) -> Events:
        made: Events = []
        for delta in deltas:
            for kind, name in ((THOUGHT, "reasoning_content"), (TEXT, "content")):
                if delta.get(name):
                    made += [*self._switch(kind, None), *self.grown(kind, delta[name])]
            for call in delta.get("tool_calls", ()):
                made += self._switch(f"call {call['index']}", call)
                words = call.get("function", {}).get("arguments")
                made += self.grown(self.open, words) if words else []
        return made

    def _switch(self, kind: str, call: dict[str, Any] | None) -> Events:
        """Open a part of a kind unless one is open, and close the one before."""
        if self.open == kind:
            return []
        made = self._close(True)
        self.open = kind
        return [*made, *self.opened(kind, call)]

    def _close(self, whole: bool) -> Events:
        made = self.closed(whole) if self.open else []
        self.open = ""
        return made
