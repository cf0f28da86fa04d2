"""The grammar of tool calls in a family's format, each call's arguments by its tool's schema."""

from __future__ import annotations

import re

from llamafile.errors import LlamafileError
from llamafile.grammar import of_rules, schema, strings
from llamafile.grammar.gbnf import complement
from llamafile.grammar.lazy import Lazy
from llamafile.grammar.network import CALL, CHARS, CHOICE, EMPTY, LAST, REPEAT, SEQUENCE, TEXT, TOKENS

from .formats import PYTHON_TAG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from llamafile.grammar import Grammar
    from llamafile.thinking import Marks
    from llamafile.tokens import Tokenizer

    from .formats import Format

_WS = (CALL, schema.SPACE)
_DIGIT = (CHARS, ((48, 57),))
_ID = (CHARS, ((48, 57), (65, 90), (97, 122)))
_NO_ARGUMENTS = {"type": "object", "properties": {}}


class Calls:
    """Makes the grammar; `tools` are functions (name, parameters), in OpenAI's form without what is around them."""

    def __init__(self, format: Format, tools: Sequence[dict[str, Any]], tokenizer: Tokenizer, several: bool,
                 opened: bool = False, marks: Marks | None = None) -> None:
        """`opened` says that the prompt ends with the first call's mark; `marks` are those of thoughts."""
        self.format, self.tools, self.tokenizer, self.opened = format, tools, tokenizer, opened
        self.several, self.marks = several, marks
        self.rules: dict[str, tuple] = {}

    def behind_trigger(self, thinking: bool) -> Lazy:
        """Return the grammar of what follows the first call's mark, that counts once the mark was written."""
        form = self.format
        ways = [self._calls(form, True), *(self._calls(loose, False) for loose in form.loose)]
        found = of_rules({"root": (CHOICE, tuple(ways)), **self._made()}, self.tokenizer)
        thought = (self.marks.opening.encode(), self.marks.closing.encode()) if self.marks is not None else None
        return Lazy(found, self._trigger(), self.tokenizer, thought, thinking)

    def at_once(self, thinking: bool) -> Grammar | Lazy:
        """Return the grammar of an answer that is calls, what is thought before them aside."""
        return self._behind_thoughts(self._calls(self.format, self.opened), thinking)

    def or_else(self, answer: Any, thinking: bool) -> Grammar | Lazy:
        """Return the grammar of an answer that is calls or what a JSON schema accepts, what is thought aside."""
        self.rules |= schema.read(answer, "answer")
        said = [self._marked(mark, (mark,)) for mark in self.marks.said if mark] if self.marks is not None else []
        text: tuple = (CALL, "answer")
        if said:
            text = (CHOICE, (text, (SEQUENCE, (said[0], _WS, text, _WS, said[1]))))
        if self.marks is not None and self.marks.channels:
            mark = "<|channel|>final<|message|>"
            text = (SEQUENCE, (self._marked(mark, ("<|channel|>", "<|message|>")), text))
        calls = self._calls(self.format, self.opened)
        return self._behind_thoughts((CHOICE, (calls, text)), thinking)

    def _behind_thoughts(self, answer: tuple, thinking: bool) -> Grammar | Lazy:
        marks, between = self.marks, EMPTY if self.format.style == "harmony" else _WS
        answer = (SEQUENCE, (between, answer))
        if marks is not None and not thinking:
            thoughts = (SEQUENCE, (self._thought(marks.opening), self.until(marks.closing), between))
            answer = (CHOICE, (answer, (SEQUENCE, (thoughts, answer))))
        found = of_rules({"root": answer, **self._made()}, self.tokenizer)
        if marks is None or not thinking:
            return found
        return Lazy(found, re.compile(re.escape(marks.closing.encode())), self.tokenizer)

    def _thought(self, text: str) -> tuple:
        return self._marked(text, tuple(re.findall(r"<\|\w+\|>", text)) or (text,))

    def _made(self) -> dict[str, tuple]:
        return {schema.SPACE: schema.SPACE_RULE, **self.rules}

    def _trigger(self) -> re.Pattern[bytes]:
        form, names = self.format, b"|".join(re.escape(tool["name"].encode()) for tool in self.tools)
        mark = re.escape(form.trigger.encode())
        if form.style == "channels":
            return re.compile(rb"(?:%s|%s)(?P<call>(?:%s)\n)" % (rb"\A" if self.opened else mark, mark, names))
        if form.style == "harmony":
            return re.compile(rb"to=functions\.(?P<call>(?:%s) )" % names)
        object = rb'\{\s*"name"\s*:\s*"(?:%s)"' % names
        if form.alone:
            return re.compile(rb"\A\s*(?:%s\s*)?(?P<call>%s)" % (re.escape(PYTHON_TAG.encode()), object))
        if form.loose:
            return re.compile(rb"\A\s*(?P<call>(?:```(?:json)?\s*)?%s)|%s" % (object, mark))
        return re.compile(mark)

    def _calls(self, form: Format, after_mark: bool) -> tuple:
        """Return one call or more; `after_mark` leaves out the mark by which the first is known."""
        rule = f"call-{form.name}"
        self.rules[rule] = (CHOICE, tuple(self._call(form, tool, number) for number, tool in enumerate(self.tools)))
        again = (SEQUENCE, (self._text(form.separator), (CALL, rule)))
        more = (REPEAT, again, 0, None) if self.several and form.several else EMPTY
        if after_mark and not form.begin and not form.alone:
            known = form.head if form.style == "harmony" else form.trigger
            ways = (self._call(form, tool, number, known) for number, tool in enumerate(self.tools))
            return (SEQUENCE, ((CHOICE, tuple(ways)), more))
        begin = form.begin.removeprefix(form.trigger) if after_mark else form.begin
        return (SEQUENCE, (self._text(begin), (CALL, rule), more, self._text(form.end)))

    def _call(self, form: Format, tool: dict[str, Any], number: int, without: str = "") -> tuple:
        head, name, middle = form.head.removeprefix(without), (TEXT, tool["name"].encode()), self._text(form.middle)
        parts = [self._text(head), name, middle]
        if form.style == "numbered":
            before, after = head.split("0")
            parts = [self._text(before), (REPEAT, _DIGIT, 1, 3), self._text(after), name, middle]
        parameters = tool.get("parameters") or _NO_ARGUMENTS
        if form.style == "xml":
            arguments = self._xml(parameters, number)
        else:
            arguments = self._json(parameters, f"arguments{number}", number)
        if form.style == "mistral":
            id = (SEQUENCE, (self._text(' , "id": "'), (REPEAT, _ID, 9, 9), self._text('"')))
            return (SEQUENCE, (*parts, arguments, (REPEAT, id, 0, 1), self._text(" }")))
        return (SEQUENCE, (*parts, arguments, self._text(form.tail)))

    @property
    def _spelling(self) -> Any:
        if self.format.style != "gemma":
            return strings
        from .gemma_spelling import Spelling

        return Spelling(self.format.quote, self._control(self.format.quote))

    def _json(self, parameters: Any, name: str, number: int) -> tuple:
        """Return what a schema accepts, its rules under a name of their own."""
        if name not in self.rules:
            try:
                self.rules |= schema.read(parameters, name, self._spelling)
            except LlamafileError as wrong:
                raise LlamafileError(f"tool {self.tools[number]['name']!r}: {wrong}") from None
        return (CALL, name)

    def _xml(self, parameters: dict[str, Any], number: int) -> tuple:
        """Return the arguments as tags; texts stand as they are, other values as JSON."""
        needed = parameters.get("required", [])
        parts = []
        for place, (name, value) in enumerate(parameters.get("properties", {}).items()):
            if is_text(value) and "enum" not in value:
                inner: tuple = (SEQUENCE, ((TEXT, b"\n"), self.until("\n</parameter>")))
            else:
                inner = (SEQUENCE, (_WS, self._said(value, parameters, number, place), _WS, (TEXT, b"</parameter>")))
            part = (SEQUENCE, (self._text(f"<parameter={name}>"), inner, _WS))
            parts.append(part if name in needed else (REPEAT, part, 0, 1))
        return (SEQUENCE, tuple(parts))

    def _said(self, value: Any, parameters: dict[str, Any], number: int, place: int) -> tuple:
        """Return a value between tags: one of some texts, or JSON by its schema, whose references are the tool's."""
        if is_text(value):
            return (CHOICE, tuple((TEXT, str(word).encode()) for word in value["enum"]))
        if isinstance(value, dict):
            value = {**value, "$defs": parameters.get("$defs", {})}
        return self._json(value, f"arguments{number}-{place}", number)

    def until(self, ending: str) -> tuple:
        """Return any text up to and with the first place where an ending stands."""
        mark = next((m for m in re.findall(r"<[^<>]+>", ending)[:1] if ending.startswith(m)), None)
        if mark is not None and self._control(mark) is not None:  # a control token is in no text
            anything = (REPEAT, (CHARS, ((0, LAST),)), 0, None)
            return (SEQUENCE, (anything, self._marked(ending, tuple(re.findall(r"<[^<>]+>", ending)))))
        name = f"until-{ending}"
        for state in range(len(ending)):
            self.rules[f"{name}-{state}"] = self._after(ending, state, name)
        return (CALL, f"{name}-0")

    @staticmethod
    def _after(ending: str, state: int, name: str) -> tuple:
        """Return what may follow the first `state` characters of the ending, as Knuth, Morris and Pratt do."""
        others = tuple(complement([(ord(c), ord(c)) for c in set(ending)]))
        ways: list[tuple] = [(SEQUENCE, ((CHARS, others), (CALL, f"{name}-0")))]
        for char in dict.fromkeys(ending):
            seen = ending[:state] + char
            longest = next(n for n in range(len(seen), -1, -1) if seen.endswith(ending[:n]))
            follows: tuple = EMPTY if longest == len(ending) else (CALL, f"{name}-{longest}")
            ways.append((SEQUENCE, ((TEXT, char.encode()), follows)))
        return (CHOICE, tuple(ways))

    def _text(self, text: str) -> tuple:
        """Return a text of the format: white space is free but in headers, marks may be control tokens."""
        return self._marked(text, self.format.marks)

    def _marked(self, text: str, marks: tuple[str, ...]) -> tuple:
        parts: list[tuple] = []
        pattern = "|".join([*map(re.escape, marks), " +"])
        for piece in re.split(f"({pattern})", text):
            if piece in marks:
                id = self._control(piece)
                parts.append((TEXT, piece.encode()) if id is None else (TOKENS, (id,), False))
            elif piece:
                free = not piece.strip(" ") and self.format.style != "harmony"
                parts.append(_WS if free else (TEXT, piece.encode()))
        return (SEQUENCE, tuple(parts))

    def _control(self, mark: str) -> int | None:
        """Return the id of a mark that is a control token of this vocabulary, or None where it is text."""
        id = self.tokenizer.token_id(mark)
        return id if id is not None and self.tokenizer.is_control(id) else None


def is_text(value: Any) -> bool:
    """Return whether a parameter's schema allows texts alone."""
    return isinstance(value, dict) and value.get("type") == "string"
