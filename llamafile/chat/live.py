"""The end of the screen that still changes: lines written over as an answer grows, as few as possible."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_CONTROL = re.compile(r"\x1b\[[0-9;]*m")


def cells(line: str) -> int:
    """How many columns a line with colours takes."""
    from rich.cells import cell_len

    return cell_len(_CONTROL.sub("", line))


def marks(line: str) -> int:
    """How many characters a line has, without colours and spaces."""
    return len("".join(_CONTROL.sub("", line).split()))


class Live:
    """Lines at the end of the screen, the cursor behind the last one; above them nothing is ever touched again."""

    def __init__(self, write: Callable[[str], None], size: Callable[[], tuple[int, int]]) -> None:
        """`write` puts text on the terminal, `size` gives its columns and rows."""
        self._write, self._size = write, size
        self._shown: list[str] = []
        # Of each line of this block that has left at the top of the screen: its characters without spaces, whose sum is
        # the same however lines are folded.
        self._gone: list[int] = []
        self._columns = size()[0]

    def show(self, lines: list[str]) -> None:
        """Make the changing end read so; lines that a smaller screen pushed out at the top stay as they were."""
        columns, rows = self._size()
        if columns != self._columns:
            self._refold(lines, columns, rows)
        lines = lines[len(self._gone) :]
        same = self._same(lines) if columns == self._columns else 0
        old = self._shown
        if same == len(old) == len(lines):
            return
        if same == len(old) - 1 and same < len(lines) and lines[same].startswith(old[same]):
            text = lines[same][len(old[same]) :]
        else:
            text = self._back_to(same, columns) + "".join(lines[same : same + 1])
        if same == len(old) and old:
            text = "\r\n" + text
        self._put(text + "".join("\r\n" + line for line in lines[same + 1 :]))
        self._columns = columns
        room = max(1, rows - 1)
        self._part(lines[: max(0, len(lines) - room)])
        self._shown = lines[-room:] if lines else []

    def _part(self, lines: list[str]) -> None:
        """Count lines that leave at the top."""
        self._gone += map(marks, lines)

    def _refold(self, lines: list[str], columns: int, rows: int) -> None:
        """The width has changed: find how many of the new lines hold what is out of reach, by the characters in it.

        A narrower terminal has folded what was shown, and pushed some of it out.
        """
        heights = [max(1, -(-cells(line) // columns)) for line in self._shown]
        while sum(heights) > rows and len(heights) > 1:
            self._part(self._shown[:1])
            del heights[0], self._shown[0]
        left, self._gone = sum(self._gone), []
        for line in lines if left else ():
            left -= marks(line)
            if left < 0:
                break
            self._part([line])

    def _same(self, lines: list[str]) -> int:
        """How many lines at the beginning are as they are on the screen."""
        same = 0
        while same < min(len(lines), len(self._shown)) and lines[same] == self._shown[same]:
            same += 1
        return max(0, same - 1) if same == len(lines) < len(self._shown) else same  # the cursor belongs behind a line

    def _back_to(self, first: int, columns: int) -> str:
        """What moves the cursor to the beginning of a shown line and clears all from there.

        A terminal that has become narrower has folded lines that are now too long for it.
        """
        passed = self._shown[first:]
        if not passed:
            return ""
        up = sum(max(1, -(-cells(line) // columns)) for line in passed) - 1
        return "\r" + (f"\x1b[{up}A" if up else "") + "\x1b[J"

    def _put(self, text: str) -> None:
        # Without wrapping: where the terminal takes a character for wider than we do, it is cut off at the edge, and
        # the rows are still where we think.
        if text:
            self._write(f"\x1b[?7l{text}\x1b[?7h")

    def leave(self, count: int) -> None:
        """Count the first `count` lines, fewer than there are, as being above; the next ones shown begin after them."""
        here = max(0, count - len(self._gone))
        del self._gone[:count]
        self._shown = self._shown[here:]

    def commit(self, lines: list[str]) -> None:
        """Show the lines for the last time and go on below them."""
        self.show(lines)
        if lines:
            self._write("\r\n")
        self._shown, self._gone = [], []
