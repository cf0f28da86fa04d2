"""What the chat shows where the terminal is not to be controlled: plain text, the answers on the standard output."""

from __future__ import annotations

from contextlib import contextmanager

from llamafile.chat.harmless import seen
from llamafile.chat.thoughts import ANSWER
from llamafile.cli.output import Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from llamafile.arguments import Options


class Screen:
    """Answers go to the standard output as they come, all else to the standard error stream."""

    controlled = False  # whether the cursor may be moved

    def __init__(self, options: Options) -> None:
        self.output = Output(options)
        self.hide_thoughts = bool(options.nothink)

    def say(self, text: str) -> None:
        """Show what a command was asked for."""
        self.output.tell(seen(text).rstrip("\n") + "\n")

    def note(self, text: str) -> None:
        """Tell something by the way, unless --log-disable is given."""
        self.output.note(seen(text))

    def complain(self, text: str) -> None:
        """Tell what went wrong."""
        self.output.complain(seen(" ".join(text.splitlines())))

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Tell what is waited for, as long as it is."""
        yield

    @contextmanager
    def answer(self) -> Iterator[Paper]:
        """Give something to write an answer on; it ends in a newline however the block is left."""
        paper = Paper(self)
        try:
            yield paper
        finally:
            self.output.end_line()

    def message(self, role: str, text: str) -> None:
        """Show a message of a conversation that was loaded."""
        self.say(f"{role}: {text}")

    def renderer(self) -> Any:
        """Nothing is rendered here."""

    def close(self) -> None:
        """Leave the terminal as it was found."""
        self.output.restore()


class Paper:
    """What one answer is written on."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def write(self, kind: str, text: str) -> None:
        """Show a piece of the answer, or of the thoughts before it."""
        output = self._screen.output
        if kind == ANSWER:
            output.write((seen(text) if output.on_terminal else text).encode("utf-8", "replace"))
        elif not self._screen.hide_thoughts:
            output.tell(seen(text))

    def progress(self, done: int, total: int) -> None:
        """Nothing is shown of how the prompt is read."""
