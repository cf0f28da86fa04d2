"""Takes an answer apart as it comes: what is thought, what is said, and calls of tools, as OpenAI streams them."""

from __future__ import annotations

import json

from . import arguments
from .constraint import THOUGHT
from .formats import PYTHON_TAG
from .json_scan import Scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from .formats import Format

    # Runs until it needs more text than has come.
    Steps = Generator[None, None, Any]

_KEYS = ("name", "type", "function", "arguments", "parameters", "id")  # with which an object that is a call begins
NAME_LIMIT = 256
CALL_LIMIT = 1 << 20  # characters of a call that is read as a whole


class Parser:
    """Takes one answer apart, however it is split into pieces; never raises for what a model writes.

    `feed` and `close` return deltas: {"content": text}, {"reasoning_content": text}, or {"tool_calls": [{"index": n,
    ...}]}, whose first for a call has `id`, `type` and the function's `name`, and further ones more of its `arguments`.
    What is no whole call is content, as it stands.
    """

    def __init__(self, format: Format | None, tools: dict[str, Any], *, several: bool = True, thinking: bool = False,
                 thinks: bool = False, opened: bool = False, make_id: Any = None) -> None:
        """`tools` are schemas by the names of the functions; without them nothing is a call. `thinking` says that the
        prompt ends inside what is thought, `thinks` that the answer may begin so, `opened` that it ends with the mark
        of a call. `make_id` returns a new call's id.
        """
        self.format, self.tools, self.several = format if tools else None, tools, several
        self.make_id = make_id or (_short_id if format and format.name.startswith("mistral") else _random_id)
        self.calls = 0
        self._text = format.trigger if opened and format and tools else ""
        self._at = 0
        self._ended = False
        self._made: list[dict[str, Any]] = []
        self._spaces = ""  # behind what was said: they count only if more is said
        self._said = False
        self._steps = self._run(thinking, thinks)
        self._running = True

    def feed(self, text: str) -> list[dict[str, Any]]:
        """Return what a further piece of the answer adds."""
        self._text += text
        return self._go_on()

    def close(self) -> list[dict[str, Any]]:
        """Return what was held back until it was known that nothing more comes."""
        self._ended = True
        return self._go_on()

    def _go_on(self) -> list[dict[str, Any]]:
        if self._running:
            self._running = next(self._steps, self) is None
        made, self._made = self._made, []
        return made

    # What reads the text: each returns once it knows, and yields where the text ends before that.

    def _run(self, thinking: bool, thinks: bool) -> Steps:
        yield from self._thoughts(thinking, thinks)
        while not (yield from self._at_end()):
            yield from self._content()
            if (yield from self._at_end()):
                break
            if not (yield from self._tried(self._calls)):
                self._say(self._taken(1))
        self._flush()

    def _at_end(self) -> Steps:
        while self._at >= len(self._text) and not self._ended:
            yield
        return self._at >= len(self._text)

    def _thoughts(self, thinking: bool, thinks: bool) -> Steps:
        opening, closing = THOUGHT
        if not thinking and thinks:
            blank = yield from self._blank()
            if (yield from self._sees(opening)):
                self._at += len(opening)
                thinking = True
            else:
                self._at -= blank
        if not thinking:
            return
        yield from self._blank()
        held = ""
        while not (yield from self._at_end()):
            upto = self._known_upto(closing)
            text = held + self._taken(upto - self._at)
            held = text[len(text.rstrip()) :]
            self._put({"reasoning_content": text[: len(text) - len(held)]})
            if (yield from self._sees(closing)):
                self._at += len(closing)
                yield from self._blank()
                return
            if (yield from self._at_end()):
                break
            held += self._taken(1) if self._at == upto else ""
        self._put({"reasoning_content": held.rstrip()})

    def _content(self) -> Steps:
        """Say what comes before the next mark of a call."""
        marks = self._marks()
        while not (yield from self._at_end()):
            upto = min((self._known_upto(mark) for mark in marks), default=len(self._text))
            if self.format and self.format.alone and not self._said and not self.calls:
                blank = len(self._text) - self._at - len(self._text[self._at :].lstrip())
                if self._at + blank >= len(self._text) and not self._ended:
                    yield
                    continue
                if self._text.startswith("{", self._at + blank):
                    return
            self._say(self._taken(upto - self._at))
            for mark in marks:
                if (yield from self._sees(mark)):
                    return
            if not (yield from self._at_end()) and self._at == upto:
                self._say(self._taken(1))

    def _marks(self) -> list[str]:
        if self.format is None or (self.calls and not (self.several and self.format.several)):
            return []
        if self.format.alone:
            return [PYTHON_TAG]
        return [self.format.trigger]

    def _known_upto(self, mark: str) -> int:
        """Return the place where a mark stands or may yet come to stand, or the text's end."""
        found = self._text.find(mark, self._at)
        if found >= 0:
            return found
        if not self._ended:
            for size in range(min(len(mark) - 1, len(self._text) - self._at), 0, -1):
                if self._text.endswith(mark[:size]):
                    return len(self._text) - size
        return len(self._text)

    def _sees(self, word: str) -> Steps:
        """Return whether a word stands here."""
        while not self._ended and len(self._text) - self._at < len(word) and word.startswith(self._text[self._at :]):
            yield
        return self._text.startswith(word, self._at)

    def _blank(self) -> Steps:
        """Step over white space; return how much."""
        start = self._at
        while True:
            while self._at < len(self._text) and self._text[self._at].isspace():
                self._at += 1
            if self._at < len(self._text) or self._ended:
                return self._at - start
            yield

    def _word(self, text: str) -> Steps:
        """Step over a text of the format, in which white space is free; return whether it stood here."""
        start = self._at
        for number, word in enumerate(text.split(" ")):
            if number:
                yield from self._blank()
            if word and not (yield from self._sees(word)):
                self._at = start
                return False
            self._at += len(word)
        return True

    def _tried(self, way: Any) -> Steps:
        """Try to read something; where it is not there, go back to before it and return False."""
        start = self._at
        found = yield from way()
        if not found:
            self._at = start
        return found

    def _calls(self) -> Steps:
        form = self.format
        assert form is not None
        if form.alone:
            return (yield from self._lone_call())
        if not (yield from self._word(form.begin)) or not (yield from self._call()):
            return False
        while self.several and form.several:
            before = self._at
            if not (yield from self._word(form.separator)) or not (yield from self._call()):
                self._at = before
                break
        before = self._at
        if form.end and not (yield from self._word(form.end)):
            self._at = before
        return True

    def _call(self) -> Steps:
        """Read one call; return False, with nothing told, where there is none."""
        form = self.format
        assert form is not None
        start = self._at
        if (yield from self._word(form.head)):
            name = yield from self._name(form.middle)
            if form.style == "channels" and name == "all":  # the channel of what is said
                return (yield from self._word(form.middle))
            if name in self.tools and (yield from self._word(form.middle)) and (yield from self._told(name, form)):
                return True
        self._at = start
        return "{" in form.head and (yield from self._whole_call(form))

    def _told(self, name: str, form: Format) -> Steps:
        """Read a call from its arguments on."""
        if form.style in ("xml", "gemma"):
            return (yield from self._tagged(name))
        if not (yield from self._arguments(name)):
            return False
        before = self._at
        if not (yield from self._tail(form)):
            self._at = before
        return True

    def _tail(self, form: Format) -> Steps:
        if form.style == "mistral":
            if (yield from self._word(' , "id": "')):
                while not (yield from self._at_end()) and self._text[self._at] != '"':
                    self._at += 1
                self._at += 1
            return (yield from self._word(" }"))
        return (yield from self._word(form.tail))

    def _name(self, middle: str) -> Steps:
        """Return the name that stands before the middle of a call."""
        start, stop = self._at, middle.lstrip()[:1] or ("{" if middle != "\n" else "\n")
        while not (yield from self._at_end()) and self._at - start < NAME_LIMIT:
            if self._text[self._at] in (stop, "\n"):
                break
            self._at += 1
        return self._text[start : self._at].rstrip()

    def _arguments(self, name: str) -> Steps:
        """Tell of a call and its arguments as they come; return whether they are a JSON object."""
        yield from self._blank()
        if not (yield from self._sees("{")):
            return False
        start = self._at
        self._at += 1
        yield from self._blank()
        if (yield from self._at_end()) or self._text[self._at] not in '"}':
            return False
        self._at = start
        self._begin(name)
        scan = Scan()
        while not scan.done and not scan.wrong and not (yield from self._at_end()):
            self._more(self._taken(scan.feed(self._text[self._at :])))
        return True

    def _whole_call(self, form: Format) -> Steps:
        """Read a call whose keys come in another order than the format's: all of it, then tell of it."""
        before = form.head[: form.head.index("{")]
        start = self._at
        if not (yield from self._word(before.rstrip() if before.strip() else before)):
            return False
        if not (yield from self._looks_like_call()):
            self._at = start
            return False
        text = yield from self._object()
        found = arguments.named(text, self.tools)
        if found is None:
            self._at = start
            return False
        self._begin(found[0])
        self._more(found[1])
        behind = form.tail[form.tail.find("}") + 1 :] if "}" in form.tail else ""
        after = self._at
        if behind.strip() and not (yield from self._word(behind)):
            self._at = after
        return True

    def _looks_like_call(self) -> Steps:
        """Return whether an object begins as a call may; others need not be held back to their end."""
        start = self._at
        for word in ("{", '"'):
            yield from self._blank()
            if not (yield from self._sees(word)):
                return False
            self._at += 1
        for key in _KEYS:
            if (yield from self._sees(key)):
                self._at = start
                return True
        return False

    def _object(self) -> Steps:
        """Return the text of a JSON object that stands here, or what is there of one."""
        yield from self._blank()
        start, scan = self._at, Scan()
        while not scan.done and not scan.wrong and not (yield from self._at_end()) and self._at - start < CALL_LIMIT:
            self._at += scan.feed(self._text[self._at :])
        return self._text[start : self._at]

    def _lone_call(self) -> Steps:
        """Read a call that no mark announces, or one behind Llama's mark for code."""
        yield from self._blank()
        tagged = yield from self._sees(PYTHON_TAG)
        if tagged:
            self._at += len(PYTHON_TAG)
            yield from self._blank()
        start = self._at
        if (yield from self._sees("{")):
            return (yield from self._call())
        name = next((n for n in ("python", "code_interpreter", "ipython") if n in self.tools), None)
        if not tagged or name is None:
            return False
        while not self._ended:
            self._at = len(self._text)
            yield
        code = self._text[start:].strip()
        self._at = len(self._text)
        self._begin(name)
        self._more(json.dumps({"code": code}, ensure_ascii=False))
        return True

    def _tagged(self, name: str) -> Steps:
        """Read a call whose arguments are no JSON: up to its end, then turn them into JSON."""
        form = self.format
        assert form is not None
        start = self._at
        closing = "</function>" if form.style == "xml" else form.tail
        while True:
            upto = self._text.find(closing, start)
            if upto >= 0 or self._ended or len(self._text) - start > CALL_LIMIT:
                break
            self._at = len(self._text)
            yield
        read = arguments.from_tags if form.style == "xml" else arguments.from_gemma
        found = read(self._text[start:upto], self.tools[name], form.quote) if upto >= 0 else None
        if found is None:
            return False
        self._at = upto
        self._begin(name)
        self._more(found)
        if not (yield from self._word(form.tail)):
            self._at = upto + len(closing)
        return True

    # What is told.

    def _taken(self, count: int) -> str:
        text = self._text[self._at : self._at + count]
        self._at += len(text)
        return text

    def _put(self, delta: dict[str, Any]) -> None:
        if any(delta.values()):
            self._made.append(delta)

    def _say(self, text: str) -> None:
        """Tell of content; white space between calls and before them is none."""
        kept = text.rstrip() if self.format else text
        if kept:
            whole = self._spaces + kept
            self._put({"content": whole if self._said or not self.calls else whole.lstrip()})
            self._said, self._spaces = True, ""
        self._spaces += text[len(kept) :]

    def _flush(self) -> None:
        if not self.calls:
            self._put({"content": self._spaces})

    def _begin(self, name: str) -> None:
        self._spaces = ""
        self._put({"tool_calls": [{"index": self.calls, "id": self.make_id(), "type": "function",
                                   "function": {"name": name, "arguments": ""}}]})
        self.calls += 1

    def _more(self, text: str) -> None:
        if text:
            self._put({"tool_calls": [{"index": self.calls - 1, "function": {"arguments": text}}]})


def _random_id() -> str:
    import os

    return "call_" + os.urandom(12).hex()


def _short_id() -> str:
    """Return an id as Mistral's templates ask for: nine letters and digits."""
    return _random_id()[5:14]
