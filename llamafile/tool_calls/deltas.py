"""What an answer turns out to be, piece by piece, as OpenAI streams it: content, thoughts, calls."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Deltas:
    """Collects deltas until they are `take`n: {"content": text}, {"reasoning_content": text}, {"tool_calls": [...]}."""

    def __init__(self, make_id: Callable[[], str], trims: bool) -> None:
        """`make_id` returns a new call's id; `trims` says that white space around calls is no content."""
        self.make_id, self.trims = make_id, trims
        self.calls = 0
        self.said = False
        self._spaces = ""  # behind what was said: they count only if more is said
        self._made: list[dict[str, Any]] = []

    def take(self) -> list[dict[str, Any]]:
        """Return what has been collected since the last time."""
        made, self._made = self._made, []
        return made

    def think(self, text: str) -> None:
        """Tell of what is thought."""
        self._put({"reasoning_content": text})

    def say(self, text: str) -> None:
        """Tell of content; white space between calls and before them is none."""
        kept = text.rstrip() if self.trims else text
        if kept:
            whole = self._spaces + kept
            self._put({"content": whole if self.said or not self.calls else whole.lstrip()})
            self.said, self._spaces = True, ""
        self._spaces += text[len(kept) :]

    def flush(self) -> None:
        """Tell of white space at the end of an answer without calls."""
        if not self.calls:
            self._put({"content": self._spaces})
            self._spaces = ""

    def begin(self, name: str) -> None:
        """Tell of a call whose arguments follow."""
        self._spaces = ""
        self._put({"tool_calls": [{"index": self.calls, "id": self.make_id(), "type": "function",
                                   "function": {"name": name, "arguments": ""}}]})
        self.calls += 1

    def more(self, text: str) -> None:
        """Tell of more of the last call's arguments."""
        if text:
            self._put({"tool_calls": [{"index": self.calls - 1, "function": {"arguments": text}}]})

    def _put(self, delta: dict[str, Any]) -> None:
        if any(delta.values()):
            self._made.append(delta)


def random_id() -> str:
    """Return an id that no other call has."""
    import os

    return "call_" + os.urandom(12).hex()


def short_id() -> str:
    """Return an id as Mistral's templates ask for: nine letters and digits."""
    return random_id()[5:14]
