"""Turns from where no editor is wanted: lines of the standard input, several of them between triple quotes."""

from __future__ import annotations

from llamafile.cli.typed import Typed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from llamafile.cli.output import Output
    from llamafile.sandbox.broker import Broker

QUOTES = '"""'
MARK, MORE = ">>> ", "... "


class Lines:
    """Asks for turns line by line; a mark is shown only to somebody who sits at a terminal."""

    def __init__(self, output: Output, broker: Broker | None) -> None:
        self._output = output
        self._typed = Typed(multiline=False, read=None if broker is None else broker.read)

    def turn(self, role: str = "", begun: Callable[[], object] = bool) -> str | None:
        """Return what was typed, None at the end of the input; `role` is whose turn it is by /manual.

        `begun` is called when everything is there that this takes.
        """
        begun()
        line = self._line(role + MARK)
        if line is None or not line.startswith(QUOTES):
            return line
        text = line[len(QUOTES) :]
        while not closed(text):
            more = self._line(MORE)
            if more is None:
                break
            text += "\n" + more
        return unquoted(text)

    def _line(self, mark: str) -> str | None:
        if self._output.typed_on_terminal:
            self._output.tell(mark)
        data = self._typed.turn()
        if data is None and self._output.typed_on_terminal:
            self._output.tell("\n")  # Ctrl-D has left the cursor behind the mark
        return None if data is None else data.decode("utf-8", "replace")

    def break_off(self, problem: BaseException) -> None:
        """Nothing: whoever reads lines finds out with the first one."""

    def close(self) -> None:
        """Nothing is held."""


def closed(text: str) -> bool:
    """Whether a text that began with triple quotes has come to their end."""
    return text.rstrip().endswith(QUOTES)


def unquoted(text: str) -> str:
    """Return a text without the quotes at its end and the line breaks beside them."""
    return text.rstrip().removesuffix(QUOTES).strip("\n") if closed(text) else text.strip("\n")
