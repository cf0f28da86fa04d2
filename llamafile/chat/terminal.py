"""What the chat shows on a terminal: colours, Markdown as it is written, notes that stand back behind the answers."""

from __future__ import annotations

import os
from contextlib import contextmanager

from llamafile.chat.harmless import seen
from llamafile.chat.screen import Screen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from llamafile.arguments import Options
    from llamafile.chat.markdown import Renderer
    from llamafile.chat.page import Page

DIM, RED, PLAIN = "\x1b[2m", "\x1b[31m", "\x1b[0m"
FALLBACK = (80, 24)


def size() -> tuple[int, int]:
    """Return the terminal's columns and rows."""
    try:
        columns, rows = os.get_terminal_size(1)
    except OSError:
        return FALLBACK
    return columns or FALLBACK[0], rows or FALLBACK[1]


class Terminal(Screen):
    """A Screen whose standard output is a terminal that may be controlled."""

    controlled = True

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        off = "color" in options.given and options.color == "off"
        forced = "color" in options.given and options.color == "on"
        self.coloured = not off and (forced or not os.environ.get("NO_COLOR"))
        self._renderer: Any = None

    def renderer(self) -> Renderer:
        """Return what renders Markdown; it takes a twentieth of a second to import."""
        if self._renderer is None:
            from llamafile.chat.markdown import Renderer

            self._renderer = Renderer(no_color=not self.coloured)
        return self._renderer

    def put(self, text: str) -> None:
        """Write text as it is."""
        self.output.write(text.encode("utf-8", "replace"))

    def say(self, text: str) -> None:
        """Show what a command was asked for."""
        self.put(seen(text).rstrip("\n").replace("\n", "\r\n") + "\r\n")

    def note(self, text: str) -> None:
        """Tell something by the way, unless --log-disable is given."""
        if not self.output.quiet:
            self.put(f"{DIM}{seen(text)}{PLAIN}\r\n")

    def complain(self, text: str) -> None:
        """Tell what went wrong."""
        line = seen(" ".join(text.splitlines()))
        self.put(f"{RED}{line}{PLAIN}\r\n" if self.coloured else f"{line}\r\n")

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Tell what is waited for, as long as it is."""
        self.put(f"{DIM}{seen(what)}…{PLAIN}")
        try:
            yield
        finally:
            self.put("\r\x1b[K")

    @contextmanager
    def answer(self) -> Iterator[Any]:
        """Give something to write an answer on; the cursor stands in a line of its own however the block is left."""
        from llamafile.chat.page import Page

        self.put("\r\n")
        page = Page(self.renderer(), self.put, size, self.hide_thoughts)
        sheet = Sheet(self, page)
        try:
            yield sheet
        finally:
            sheet.clear()
            page.close()
            self.put("\r\n")

    def message(self, role: str, text: str) -> None:
        """Show a message of a conversation that was loaded."""
        if role == "assistant":
            with self.answer() as sheet:
                sheet.write("answer", text)
        else:
            self.note(f"{role}: {text}".replace("\n", "\r\n"))


class Sheet:
    """What one answer is written on: a Page, and before its first word how far the prompt has been read."""

    def __init__(self, terminal: Terminal, page: Page) -> None:
        self._terminal, self._page = terminal, page
        self._told = False

    def write(self, kind: str, text: str) -> None:
        """Show a piece of the answer, or of the thoughts before it."""
        self.clear()
        self._page.write(kind, text)

    def progress(self, done: int, total: int) -> None:
        """Show that the prompt is being read."""
        self._terminal.put(f"\r{DIM}reading {done:,} of {total:,} tokens{PLAIN}\x1b[K")
        self._told = True

    def clear(self) -> None:
        """Take away what `progress` wrote."""
        if self._told:
            self._terminal.put("\r\x1b[K")
            self._told = False
