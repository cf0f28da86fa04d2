"""What Tab completes and what dim hints show: commands, what they take, and paths."""

from __future__ import annotations

import os

from prompt_toolkit.auto_suggest import AutoSuggest, Suggestion
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from llamafile.chat.commands import COMMANDS
from llamafile.chat.harmless import seen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MOST_PATHS = 100
_SHOWN = [command for command in COMMANDS if not command.hidden]


def paths(beginning: str) -> list[str]:
    """Return the paths that go on from a beginning, folders with a slash at their end; hidden ones only if asked."""
    folder, name = os.path.split(beginning)
    try:
        with os.scandir(os.path.expanduser(folder) or ".") as entries:
            found = [os.path.join(folder, entry.name) + "/" * entry.is_dir() for entry in entries
                     if entry.name.startswith(name) and (name or not entry.name.startswith("."))]
    except OSError:
        return []
    return sorted(found)[:MOST_PATHS]


class Commands(Completer):
    """Completes a command's name, and the path behind one that takes a file."""

    def __init__(self, find_paths: Callable[[str], list[str]] = paths) -> None:
        self._find_paths = find_paths

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterable[Completion]:
        """Yield what may stand at the end of the text before the cursor."""
        text = document.text_before_cursor
        if not text.startswith("/") or "\n" in text:
            return
        word, space, argument = text.partition(" ")
        if not space:
            for command in _SHOWN:
                if command.name.startswith(word):
                    yield Completion(command.name + " " * bool(command.takes), -len(word), display=command.name,
                                     display_meta=command.line)
        elif any(command.name == word and command.path for command in _SHOWN):
            argument = argument.lstrip()
            for path in self._find_paths(argument):
                yield Completion(path, -len(argument), display=seen(os.path.basename(path.rstrip("/"))) +
                                 "/" * path.endswith("/"))


class Hints(AutoSuggest):
    """Dim hints behind the cursor: the rest of a command and what it takes, else the rest of an earlier turn."""

    def get_suggestion(self, buffer: Buffer, document: Document) -> Suggestion | None:
        """Return what the text may go on with."""
        text = document.text
        if not text or "\n" in text:
            return None
        if text.startswith("/"):
            return self._of_command(text)
        for turn in reversed(buffer.history.get_strings()):
            first = turn.split("\n", 1)[0]
            if first.startswith(text) and first != text:
                return Suggestion(first[len(text) :])
        return None

    @staticmethod
    def _of_command(text: str) -> Suggestion | None:
        for command in _SHOWN:
            if text in (command.name, command.name + " ") and command.takes:
                return Suggestion((command.name + " " + command.takes)[len(text) :])
        return next((Suggestion(command.name[len(text) :]) for command in _SHOWN
                     if len(text) > 1 and command.name.startswith(text) and command.name != text), None)
