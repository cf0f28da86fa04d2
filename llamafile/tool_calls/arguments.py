"""Arguments that are no plain JSON object, or not in their usual place, turned into one."""

from __future__ import annotations

import json
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PARAMETER = re.compile(r"\s*<parameter=([^>\n]+)>(.*?)</parameter>", re.DOTALL)
_BARE = re.compile(r"[^,}\]]+")
_KEY = re.compile(r"\s*([^:,{}\[\]]+?)\s*:\s*")
DEPTH_LIMIT = 50


def named(text: str, tools: Any) -> tuple[str, str] | None:
    """Return the name and the arguments of a call that is a JSON object with its keys in any order, or None."""
    try:
        call = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(call, dict):
        return None
    if isinstance(call.get("function"), dict):
        call = call["function"]
    name = call.get("name", call.get("tool_name", call.get("function")))
    found = call.get("arguments", call.get("parameters", {}))
    if not isinstance(name, str) or name not in tools:
        return None
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except (ValueError, RecursionError):
            return None
    dumped = _dumped(found) if isinstance(found, dict) else None
    return None if dumped is None else (name, dumped)


def from_tags(text: str, schema: Any, quote: str) -> str | None:
    """Return <parameter=NAME>value</parameter>... as JSON, values read as the schema says; None for other text."""
    found: dict[str, Any] = {}
    at = 0
    while match := _PARAMETER.match(text, at):
        found[match[1].strip()] = _value(match[2], _of(schema, match[1].strip()))
        at = match.end()
    return None if text[at:].strip() else _dumped(found)


def _of(schema: Any, name: str) -> Any:
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return properties.get(name) if isinstance(properties, dict) else None


def _value(text: str, schema: Any) -> Any:
    """Return a text between tags as the value that its schema asks for."""
    inner = text.removeprefix("\n").removesuffix("\n")
    if isinstance(schema, dict) and schema.get("type") == "string":
        return inner.strip() if "enum" in schema else inner
    try:
        return json.loads(inner)
    except (ValueError, RecursionError):
        return inner


def from_gemma(text: str, schema: Any, quote: str) -> str | None:
    """Return {key:value,...}, whose texts stand between `quote` marks, as JSON; None where it is not that."""
    reader = _Gemma(text.strip(), quote)
    try:
        found = reader.value(0)
        reader.space()
        return _dumped(found) if isinstance(found, dict) and reader.at == len(reader.text) else None
    except ValueError:
        return None


class _Gemma:
    def __init__(self, text: str, quote: str) -> None:
        self.text, self.quote, self.at = text, quote, 0

    def space(self) -> None:
        while self.text[self.at : self.at + 1].isspace():
            self.at += 1

    def value(self, depth: int) -> Any:
        """Return the value that stands here; raise ValueError where there is none."""
        self.space()
        if depth > DEPTH_LIMIT:
            raise ValueError
        if self.text.startswith(self.quote, self.at):
            start = self.at + len(self.quote)
            end = self.text.index(self.quote, start)
            self.at = end + len(self.quote)
            return self.text[start:end]
        if self.text.startswith("{", self.at):
            return dict(self._items("}", depth))
        if self.text.startswith("[", self.at):
            return list(self._items("]", depth))
        match = _BARE.match(self.text, self.at)
        if not match:
            raise ValueError
        self.at = match.end()
        word = match[0].strip()
        try:
            return json.loads(word)
        except RecursionError:
            raise ValueError from None
        except ValueError:
            return word

    def _items(self, closing: str, depth: int) -> Any:
        self.at += 1
        self.space()
        if self.text.startswith(closing, self.at):
            self.at += 1
            return
        while True:
            if closing == "}":
                match = _KEY.match(self.text, self.at)
                if not match:
                    raise ValueError
                self.at = match.end()
                yield match[1].replace(self.quote, ""), self.value(depth + 1)
            else:
                yield self.value(depth + 1)
            self.space()
            mark = self.text[self.at : self.at + 1]
            self.at += 1
            if mark == closing:
                return
            if mark != ",":
                raise ValueError


def _dumped(value: Any) -> str | None:
    """Return a value as JSON, or None where it is nested too deeply for that."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return None
