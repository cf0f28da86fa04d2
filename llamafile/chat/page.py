"""An answer on its way to the terminal: finished blocks are put down once, only the last one is still changing."""

from __future__ import annotations

import re
import time

from llamafile.chat.harmless import seen
from llamafile.chat.live import Live
from llamafile.chat.thoughts import THOUGHT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from llamafile.chat.markdown import Block, Renderer

SHORTEST = 1 / 30  # seconds between two frames
EFFORT = 4  # a frame may come this many times later than the last one took to make
LONG_CODE = 40  # lines of an open code block from which its first ones are put down for good
_UNCLEAR = re.compile(r"\s*([-=*_#|>+:.\d\s]*|(`{3}|~{3}).*|[`~]*)\Z")  # a line so far that may yet become markup
_FENCE = re.compile(r"\s*(`{3,}|~{3,})\s*\Z")


class Page:
    """Takes an answer piece by piece; `close` puts down the rest. Thoughts come out dim, as plain text."""

    def __init__(self, renderer: Renderer, write: Callable[[str], None], size: Callable[[], tuple[int, int]],
                 hide_thoughts: bool = False) -> None:
        self._renderer, self._size, self._hide = renderer, size, hide_thoughts
        self._live, self._write = Live(write, size), write
        self._kind, self._source = "", ""
        self._fence = ""  # the line that opens a code block whose beginning has been put down
        self._number = 0  # of the item put down last, so that its list goes on
        self._gap = False  # whether a blank line stands before the next block
        self._next_frame = 0.0

    def write(self, kind: str, text: str) -> None:
        """Take a piece and show it, unless the last frame was a moment ago."""
        if kind != self._kind:
            self._finish()
            self._gap, self._kind = bool(self._kind) and not self._hide, kind
        self._source += seen(text)
        started = time.monotonic()
        if started >= self._next_frame:
            self._draw()
            ended = time.monotonic()
            self._next_frame = ended + max(SHORTEST, EFFORT * (ended - started))

    def close(self) -> None:
        """Put down what is still changing; the cursor stands at the beginning of a line then."""
        self._finish()

    def _columns(self) -> int:
        return max(8, self._size()[0] - 1)

    def _finish(self) -> None:
        """Put down all there is; what follows is another text."""
        (self._draw_thoughts if self._kind == THOUGHT else self._draw_answer)(last=True)
        self._source = self._fence = ""
        self._number = 0

    def _draw(self) -> None:
        (self._draw_thoughts if self._kind == THOUGHT else self._draw_answer)(last=False)

    def _draw_answer(self, last: bool) -> None:
        source = self._fence + self._source
        if not last:
            begun = source[source.rfind("\n") + 1 :]
            source = source[: len(source) - len(begun)] if _UNCLEAR.match(begun) else source
        lines = source.split("\n")
        blocks = self._renderer.blocks(source)
        for at, block in enumerate(blocks[: None if last else -1]):
            self._live.commit(self._rendered(block, lines))
            self._number = self._number_of(block)
            self._gap = at + 1 < len(blocks) and _gap_between(block, blocks[at + 1], lines)
        if last or not blocks:
            return
        block = blocks[-1]
        if block.start:
            self._source = (self._fence + self._source)[sum(len(line) + 1 for line in lines[: block.start]) :]
            self._fence = ""
            lines = lines[block.start :]
            block = block._replace(start=0, end=block.end - block.start)
        self._live.show(self._rendered(block, lines))
        if block.kind == "fence" and len(lines) > LONG_CODE + 10 and not _closed(block, lines):
            self._put_down_code(block, lines)

    def _rendered(self, block: Block, lines: list[str]) -> list[str]:
        """Return a block as it is to be shown, with the blank line before it."""
        if block.tokens[0].type == "ordered_list_open":
            block.tokens[0].attrs["start"] = self._number_of(block)
        rendered = self._renderer.lines(block, self._columns())
        if block.kind == "fence":
            first = 1 if self._fence and not block.start else 0  # the opening was put down with the first lines
            rendered = rendered[first : None if _closed(block, lines) else -1]
        return [""] * self._gap + rendered

    def _number_of(self, block: Block) -> int:
        """The number of an item of an ordered list, which may go on from an item that was put down; else 0."""
        opening = block.tokens[0]
        if opening.type != "ordered_list_open":
            return 0
        written = int(opening.attrs.get("start", 1))
        return self._number + 1 if self._number and not block.start and written <= self._number else written

    def _put_down_code(self, block: Block, lines: list[str]) -> None:
        """Leave the first lines of a long open code block behind: complete lines do not change any more."""
        language = block.tokens[0].info.partition(" ")[0]
        shown = self._renderer.code("\n".join(lines[1 : LONG_CODE + 1]), language, self._columns())
        self._live.leave(len(shown) + self._gap + (not self._fence))
        left = sum(len(line) + 1 for line in lines[: LONG_CODE + 1])
        self._source = (self._fence + self._source)[left:]
        self._gap, self._fence = False, lines[0] + "\n"

    def _draw_thoughts(self, last: bool) -> None:
        if self._hide:
            return
        text = self._source.rstrip() if last else self._source
        done, newline, begun = (text, "", "") if last else text.rpartition("\n")
        if newline or (last and text):
            self._live.commit([""] * self._gap + self._renderer.dim(done, self._columns()))
            self._gap, self._source = False, begun
        if begun:
            self._live.show([""] * self._gap + self._renderer.dim(begun, self._columns()))


def _closed(block: Block, lines: list[str]) -> bool:
    """Whether a code block's closing fence has come."""
    return block.end > block.start + 1 and bool(_FENCE.match(lines[block.end - 1]))


def _gap_between(block: Block, following: Block, lines: list[str]) -> bool:
    """Whether a blank line stands between two blocks: where the source has one, and around what is no running text."""
    if any(not line.strip() for line in lines[block.end - 1 : following.start]):
        return True
    return not {block.kind, following.kind} <= {"item", "paragraph"}
