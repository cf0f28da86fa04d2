"""Reads calls where they stand in an answer: as the family writes them, or as an object with the right keys."""

from __future__ import annotations

import json

from . import arguments
from .formats import PYTHON_TAG
from .json_scan import Scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .deltas import Deltas
    from .formats import Format
    from .incoming import Incoming, Steps

NAME_LIMIT = 256
CALL_LIMIT = 1 << 20  # characters of a call that is read as a whole
# With which an object that is a call begins.
_KEYS = ("name", "type", "function", "arguments", "parameters", "id", "tool_name", "tool_call_id")


class Reader:
    """Reads calls from `source` and tells of them; `tools` are schemas by the names of the functions."""

    def __init__(self, source: Incoming, deltas: Deltas, format: Format, tools: dict[str, Any], several: bool,
                 strict: bool = False) -> None:
        self.source, self.deltas, self.format, self.tools = source, deltas, format, tools
        self.several = several
        self.loose = () if strict else format.loose

    @property
    def openings(self) -> tuple[str, ...]:
        """With what an answer begins that may be a call although it has no mark."""
        return ("{",) if self.format.alone else tuple((form.begin or form.head).split()[0] for form in self.loose)

    def calls(self) -> Steps:
        """Read the calls that stand here; return False, with nothing told, where there are none."""
        if self.format.alone:
            return (yield from self._lone_call())
        beginning = not self.deltas.said and not self.deltas.calls
        for form in (self.format, *(self.loose if beginning else ())):
            if (yield from self.source.tried(lambda form=form: self._row(form))):  # type: ignore[misc]
                return True
        return False

    def _row(self, form: Format) -> Steps:
        source = self.source
        if not (yield from source.words(form.begin)) or not (yield from self._call(form)):
            return False
        while self.several and form.several:
            before = source.at
            if not (yield from source.words(form.separator)) or not (yield from self._call(form)):
                source.at = before
                break
        yield from source.tried(lambda: source.words(form.end))
        return True

    def _call(self, form: Format) -> Steps:
        """Read one call; return False, with nothing told, where there is none."""
        source, start = self.source, self.source.at
        if (yield from source.words(form.head)):
            name = yield from self._name(form.middle)
            if form.style == "channels" and name == "all":  # the channel of what is said
                return (yield from source.words(form.middle))
            if name in self.tools and (yield from source.words(form.middle)) and (yield from self._told(name, form)):
                return True
        source.at = start
        return "{" in form.head and (yield from self._whole_call(form))

    def _told(self, name: str, form: Format) -> Steps:
        """Read a call from its arguments on."""
        if form.style in ("xml", "gemma"):
            return (yield from self._tagged(name, form))
        if not (yield from self.arguments(name)):
            return False
        yield from self.source.tried(lambda: self._tail(form))
        return True

    def _tail(self, form: Format) -> Steps:
        source = self.source
        if form.style == "mistral":
            if (yield from source.words(' , "id": "')):
                while not (yield from source.at_end()) and source.text[source.at] != '"':
                    source.at += 1
                source.at += 1
            return (yield from source.words(" }"))
        return (yield from source.words(form.tail))

    def _name(self, middle: str) -> Steps:
        """Return the name that stands before the middle of a call."""
        source, start = self.source, self.source.at
        stop = middle.lstrip()[:1] or ("{" if middle != "\n" else "\n")
        while not (yield from source.at_end()) and source.at - start < NAME_LIMIT:
            if source.text[source.at] in (stop, "\n"):
                break
            source.at += 1
        return source.text[start : source.at].rstrip()

    def arguments(self, name: str) -> Steps:
        """Tell of a call and its arguments as they come; return whether they are a JSON object."""
        source = self.source
        yield from source.blank()
        start = source.at
        if not (yield from source.over("{")):
            return False
        yield from source.blank()
        if (yield from source.at_end()) or source.text[source.at] not in '"}':
            return False
        source.at = start
        self.deltas.begin(name)
        scan = Scan()
        while not scan.done and not scan.wrong and not (yield from source.at_end()):
            self.deltas.more(source.taken(scan.feed(source.text[source.at :])))
        return True

    def _whole_call(self, form: Format) -> Steps:
        """Read a call whose keys come in another order than the format's: all of it, then tell of it."""
        source, start = self.source, self.source.at
        before = form.head[: form.head.index("{")]
        if (yield from source.words(before.rstrip() if before.strip() else before)) and (
                yield from self._looks_like_call()):
            found = arguments.named((yield from self._object()), self.tools)
            if found is not None:
                self.deltas.begin(found[0])
                self.deltas.more(found[1])
                behind = form.tail[form.tail.find("}") + 1 :] if "}" in form.tail else ""
                if behind.strip():
                    yield from source.tried(lambda: source.words(behind))
                return True
        source.at = start
        return False

    def _looks_like_call(self) -> Steps:
        """Return whether an object begins as a call may; others need not be held back to their end."""
        source, start = self.source, self.source.at
        for word in ("{", '"'):
            yield from source.blank()
            if not (yield from source.over(word)):
                return False
        for key in _KEYS:
            if (yield from source.sees(key)):
                source.at = start
                return True
        return False

    def _object(self) -> Steps:
        """Return the text of a JSON object that stands here, or what is there of one."""
        source = self.source
        yield from source.blank()
        start, scan = source.at, Scan()
        while not scan.done and not scan.wrong and not (yield from source.at_end()) and source.at - start < CALL_LIMIT:
            source.at += scan.feed(source.text[source.at :])
        return source.text[start : source.at]

    def _lone_call(self) -> Steps:
        """Read a call that no mark announces, or one behind Llama's mark for code."""
        source = self.source
        yield from source.blank()
        tagged = yield from source.over(PYTHON_TAG)
        if tagged:
            yield from source.blank()
        start = source.at
        if (yield from source.sees("{")):
            return (yield from self._row(self.format))
        name = next((n for n in ("python", "code_interpreter", "ipython") if n in self.tools), None)
        if not tagged or name is None:
            return False
        while not source.ended:
            source.at = len(source.text)
            yield
        code = source.text[start:].strip()
        source.at = len(source.text)
        self.deltas.begin(name)
        self.deltas.more(json.dumps({"code": code}, ensure_ascii=False))
        return True

    def _tagged(self, name: str, form: Format) -> Steps:
        """Read a call whose arguments are no JSON: up to its end, then turn them into JSON."""
        source, start = self.source, self.source.at
        closing = "</function>" if form.style == "xml" else form.tail
        while True:
            upto = source.text.find(closing, start)
            if upto >= 0 or source.ended or len(source.text) - start > CALL_LIMIT:
                break
            source.at = len(source.text)
            yield
        read = arguments.from_tags if form.style == "xml" else arguments.from_gemma
        found = read(source.text[start:upto], self.tools[name], form.quote) if upto >= 0 else None
        if found is None:
            return False
        source.at = upto
        self.deltas.begin(name)
        self.deltas.more(found)
        if not (yield from source.words(form.tail)):
            source.at = upto + len(closing)
        return True
