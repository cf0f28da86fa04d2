"""Takes an answer apart as it comes: what is thought, what is said, and calls of tools, as OpenAI streams them."""

from __future__ import annotations

from .deltas import Deltas, random_id, short_id
from .formats import PYTHON_TAG
from .incoming import Incoming
from .reader import Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from llamafile.thinking import Marks

    from .formats import Format
    from .incoming import Steps


class Parser:
    """Takes one answer apart, however it is split into pieces; never raises for what a model writes.

    `feed` and `close` return deltas: {"content": text}, {"reasoning_content": text}, or {"tool_calls": [{"index": n,
    ...}]}, whose first for a call has `id`, `type` and the function's `name`, and further ones more of its `arguments`.
    What is no whole call is content, as it stands.
    """

    def __init__(self, format: Format | None, tools: dict[str, Any], *, several: bool = True,
                 marks: Marks | None = None, thinking: bool = False, opened: bool = False,
                 strict: bool = False, make_id: Callable[[], str] | None = None) -> None:
        """`tools` are schemas by the names of the functions; without them nothing is a call. `marks` are those of the
        thoughts that an answer may begin with, `thinking` says that the prompt ends inside of them, `opened` that it
        ends with the mark of a call, `strict` that calls have their marks always. `make_id` returns a new call's id.
        """
        self.format = format if tools else None
        self.several = several and format is not None and format.several
        mistral = format is not None and format.name.startswith("mistral")
        self.deltas = Deltas(make_id or (short_id if mistral else random_id), self.format is not None)
        self.marks = marks
        self.source = Incoming(self.format.trigger if opened and self.format else "")
        self.reader = Reader(self.source, self.deltas, self.format, tools, several, strict) if self.format else None
        self._steps = self._run(thinking)
        self._running = True

    def feed(self, text: str) -> list[dict[str, Any]]:
        """Return what a further piece of the answer adds."""
        self.source.text += text
        return self._go_on()

    def close(self) -> list[dict[str, Any]]:
        """Return what was held back until it was known that nothing more comes."""
        self.source.ended = True
        return self._go_on()

    def _go_on(self) -> list[dict[str, Any]]:
        if self._running:
            self._running = next(self._steps, self) is None
        return self.deltas.take()

    def _run(self, thinking: bool) -> Steps:
        if self.marks is not None and self.marks.channels:
            from .channels import Channels

            yield from Channels(self.source, self.deltas, self.reader).read()
            return
        if self.marks is not None:
            yield from self._thoughts(self.marks, thinking)
        yield from self._answer(self.marks.said[1] if self.marks is not None and (yield from self._wrapped()) else "")
        self.deltas.flush()

    def _wrapped(self) -> Steps:
        """Step over the mark that some families put before what they say; return whether it stood here."""
        said = self.marks.said[0] if self.marks is not None else ""
        if not said:
            return False
        blank = yield from self.source.blank()
        if (yield from self.source.over(said)):
            return True
        self.source.at -= blank
        return False

    def _answer(self, ending: str) -> Steps:
        """Read what is said, up to an ending where that is a text, and the calls."""
        source = self.source
        while not (yield from source.at_end()):
            yield from self._content(ending)
            if (yield from source.at_end()):
                break
            if ending and (yield from source.over(ending)):
                ending = ""
            elif self.reader is None or not (yield from source.tried(self.reader.calls)):
                self.deltas.say(source.taken(1))

    def _thoughts(self, marks: Marks, thinking: bool) -> Steps:
        source = self.source
        if not thinking:
            blank = yield from source.blank()
            thinking = yield from source.over(marks.opening)
            if not thinking:
                source.at -= blank
                return
        yield from source.blank()
        held = ""
        while not (yield from source.at_end()):
            text = held + source.taken(source.known_upto(marks.closing) - source.at)
            held = text[len(text.rstrip()) :]
            self.deltas.think(text[: len(text) - len(held)])
            if source.at == len(source.text):
                continue
            if (yield from source.over(marks.closing)):
                yield from source.blank()
                return
            held += source.taken(1)  # what looked like the mark
        self.deltas.think(held.rstrip())

    def _content(self, ending: str) -> Steps:
        """Say what comes before the next mark of a call, or before the ending."""
        source = self.source
        marks = [*self._marks(), *([ending] if ending else [])]
        while not (yield from source.at_end()):
            if self._begins and (yield from self._unmarked()):
                return
            upto = min((source.known_upto(mark) for mark in marks), default=len(source.text))
            self.deltas.say(source.taken(upto - source.at))
            for mark in marks:
                if (yield from source.sees(mark)):
                    return
            if not (yield from source.at_end()) and source.at == upto:
                self.deltas.say(source.taken(1))

    @property
    def _begins(self) -> bool:
        return not self.deltas.said and not self.deltas.calls

    def _unmarked(self) -> Steps:
        """Return whether the answer begins as a call does that has no mark of its own."""
        source, openings = self.source, self.reader.openings if self.reader is not None else ()
        if not openings:
            return False
        blank = yield from source.blank()
        for opening in openings:
            if (yield from source.sees(opening)):
                source.at -= blank
                return True
        source.at -= blank
        return False

    def _marks(self) -> list[str]:
        if self.format is None or (self.deltas.calls and not self.several):
            return []
        return [PYTHON_TAG] if self.format.alone else [self.format.trigger]
