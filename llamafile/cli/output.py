"""What reaches the terminal: the answer on the standard output, everything else on the standard error stream."""

from __future__ import annotations

import os
import time

from llamafile.errors import LlamafileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llamafile.arguments import Options

PROMPT, INPUT, ANSWER = "\x1b[33m", "\x1b[1m\x1b[32m", ""
_PLAIN = "\x1b[0m"


class Output:
    """Writes without a buffer, so that every token is seen at once and a lost reader is noticed."""

    def __init__(self, options: Options) -> None:
        self.quiet, self.verbose = not options.log, options.verbose
        self.on_terminal = not options.simple_io and os.isatty(1)
        self.typed_on_terminal = os.isatty(0)
        self.coloured = _wants_colour(options, self.on_terminal)
        self.colour = ANSWER
        self.at_line_start = True

    def write(self, data: bytes, colour: str = ANSWER) -> None:
        """Write bytes of whole characters in a colour; raises BrokenPipeError, and LlamafileError for a full disk."""
        if not data:
            return
        self.at_line_start = data.endswith(b"\n")
        if self.coloured and colour != self.colour:
            data = (_PLAIN + colour).encode() + data
            self.colour = colour
        _write_all(1, data)

    def paint(self, colour: str) -> None:
        """Change the colour of what the terminal itself will show next."""
        if self.coloured and colour != self.colour:
            _write_all(1, (_PLAIN + colour).encode())
            self.colour = colour

    def end_line(self) -> None:
        """End the line that is begun, in plain colour."""
        self.paint(ANSWER)
        if not self.at_line_start:
            self.write(b"\n")

    def restore(self) -> None:
        """Leave a terminal in plain colour at the beginning of a line, whatever has happened."""
        if self.on_terminal:
            try:
                self.end_line()
            except (LlamafileError, OSError):
                self.at_line_start = True  # the terminal is gone

    def complain(self, text: str) -> None:
        """Write one line to the standard error stream about something that went wrong, but not for good."""
        self.tell(f"llamafile: {text}\n")

    def tell(self, text: str) -> None:
        """Write text as it is to the standard error stream."""
        try:  # noqa: SIM105 - contextlib would cost every start
            _write_all(2, text.encode("utf-8", "surrogateescape"))
        except (LlamafileError, OSError):
            pass  # nobody listens

    def note(self, text: str) -> None:
        """Write one line to the standard error stream, unless logging is off."""
        if not self.quiet:
            self.complain(text)

    def detail(self, text: str) -> None:
        """Write one line to the standard error stream where -v asks for more."""
        if self.verbose:
            self.note(text)


def _wants_colour(options: Options, on_terminal: bool) -> bool:
    if options.color == "off" or not on_terminal or os.environ.get("TERM") == "dumb":
        return False
    return options.color == "on" or not os.environ.get("NO_COLOR")


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BrokenPipeError:
            raise
        except BlockingIOError:
            time.sleep(0.001)  # a reader left the pipe in non-blocking mode; `select` may not be loaded any more
        except OSError as problem:
            raise LlamafileError(f"standard output: {problem.strerror}; see what it leads to") from None
