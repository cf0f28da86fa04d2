"""Reads GBNF, the grammar notation of llama.cpp, into rules of expressions."""

from __future__ import annotations

import re

from llamafile.errors import LlamafileError

from .network import CALL, CHARS, CHOICE, LAST, REPEAT, SEQUENCE, TEXT, TOKENS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

SIZE_LIMIT = 1 << 18  # characters
DEPTH_LIMIT = 80
PART_LIMIT = 25_000  # of all kinds: rules, terms, repetitions, characters of classes
COUNT_LIMIT = (1 << 31) - 2

_BLANK = re.compile(r"(?:[ \t]|#[^\r\n]*)*")
_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*")
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_COUNTS = re.compile(r"\{\s*(\d*)\s*(,?)\s*(\d*)\s*\}")
_PLAIN = re.compile(r'[^"\\\r\n]+')
_HEX = {"x": 2, "u": 4, "U": 8}
_ESCAPES = {"t": "\t", "r": "\r", "n": "\n", **{c: c for c in "\\\"[]-^/'"}}
_TOKEN = re.compile(r"<\[(\d+)\]>|<[^<>\s\[\]][^<>\r\n]*>")


def read(text: str, tokenizer) -> dict[str, tuple]:
    """Return names to expressions, token terminals by a vocabulary; raise LlamafileError with line and column."""
    return _Reader(text, tokenizer).rules()


class _Reader:
    def __init__(self, text: str, tokenizer) -> None:
        if len(text) > SIZE_LIMIT:
            raise LlamafileError(f"grammar: has {len(text)} characters; at most {SIZE_LIMIT} are read")
        self.text, self.tokenizer = text, tokenizer
        self.at = 0
        self.depth = self.parts = 0
        self.called: dict[str, int] = {}  # rules by name: where they are first called

    def rules(self) -> dict[str, tuple]:
        rules: dict[str, tuple] = {}
        self._skip(_SPACE)
        while self.at < len(self.text):
            start = self.at
            self._count()
            name = self._name()
            if name in rules:
                self._fail(f"rule {name!r} is defined twice", start)
            self._skip(_BLANK)
            self._expect("::=")
            self._skip(_SPACE)
            rules[name] = self._choice()
            if self.at < len(self.text) and self.text[self.at] not in "\r\n":
                self._fail("expected an expression or the end of the line")
            self._skip(_SPACE)
        for name, where in self.called.items():
            if name not in rules:
                self._fail(f"rule {name!r} is not defined", where)
        if "root" not in rules:
            raise LlamafileError("grammar: has no rule named root; the text begins with that one")
        return rules

    def _count(self) -> None:
        self.parts += 1
        if self.parts > PART_LIMIT:
            raise LlamafileError(f"grammar: has more than {PART_LIMIT} parts; make it simpler")

    def _choice(self) -> tuple:
        ways = [self._sequence()]
        while self._takes_bar():
            self._skip(_SPACE)
            ways.append(self._sequence())
        return ways[0] if len(ways) == 1 else (CHOICE, ways)

    def _takes_bar(self) -> bool:
        """Step over a bar; it may stand on a line of its own."""
        bar = self._behind(_SPACE)
        if not self.text.startswith("|", bar):
            return False
        self.at = bar + 1
        return True

    def _sequence(self) -> tuple:
        parts: list[tuple] = []
        while self.at < len(self.text):
            self._count()
            char = self.text[self.at]
            if char in "*+?{":
                if not parts:
                    self._fail(f"there is nothing before {char} to repeat")
                parts[-1] = self._repeated(parts[-1])
            else:
                part = self._part(char)
                if part is None:
                    break
                parts.append(part)
            self._skip(_SPACE if self.depth else _BLANK)
        return parts[0] if len(parts) == 1 else (SEQUENCE, parts)

    def _part(self, char: str) -> tuple | None:
        if char == '"':
            return TEXT, self._literal().encode("utf-8", "surrogatepass")
        if char == "[":
            return CHARS, self._class()
        if char == "(":
            return self._group()
        if char == ".":
            self.at += 1
            return CHARS, ((0, LAST),)
        if char in "<!":
            return self._token()
        start = self.at
        if not _NAME.match(self.text, start):
            return None
        name = self._name()
        if self.text.startswith("::=", self._behind(_BLANK)):
            self._fail("a rule must begin on a line of its own", start)
        self.called.setdefault(name, start)
        return CALL, name

    def _group(self) -> tuple:
        start = self.at
        self.at += 1
        self.depth += 1
        if self.depth > DEPTH_LIMIT:
            self._fail(f"parentheses are nested more than {DEPTH_LIMIT} deep")
        self._skip(_SPACE)
        inner = self._choice()
        self._skip(_SPACE)
        if not self.text.startswith(")", self.at):
            self._fail("this parenthesis is not closed" if self.at >= len(self.text) else "expected )",
                       start if self.at >= len(self.text) else None)
        self.at += 1
        self.depth -= 1
        return inner

    def _repeated(self, part: tuple) -> tuple:
        char = self.text[self.at]
        if char != "{":
            self.at += 1
            return REPEAT, part, int(char == "+"), 1 if char == "?" else None
        match = _COUNTS.match(self.text, self.at)
        if not match or not (match[1] or match[3]):
            self._fail("expected a repetition such as {2}, {2,} or {2,4}")
        least = int(match[1] or 0) if len(match[1]) < 12 else COUNT_LIMIT + 1
        most = int(match[3]) if match[3] and len(match[3]) < 12 else None if match[2] and not match[3] else least
        if (match[3] and len(match[3]) >= 12) or max(least, most or 0) > COUNT_LIMIT:
            self._fail(f"a repetition can ask for {COUNT_LIMIT} at most")
        if most is not None and most < least:
            self._fail("the repetition asks for more at least than at most")
        self.at = match.end()
        return REPEAT, part, least, most

    def _literal(self) -> str:
        start = self.at
        self.at += 1
        out = []
        while not self.text.startswith('"', self.at):
            match = _PLAIN.match(self.text, self.at)
            if match:
                out.append(match[0])
                self.at = match.end()
            elif self.text.startswith("\\", self.at):
                out.append(self._escaped())
            else:
                self._fail("this text is not closed on its line", start)
        self.at += 1
        return "".join(out)

    def _class(self) -> tuple:
        start = self.at
        self.at += 1
        negated = self.text.startswith("^", self.at)
        self.at += negated
        ranges = []
        while not self.text.startswith("]", self.at):
            self._count()
            where = self.at
            first = last = self._class_char(start)
            if self.text.startswith("-", self.at) and not self.text.startswith("-]", self.at):
                self.at += 1
                last = self._class_char(start)
            if last < first:
                self._fail("this range ends before it begins", where)
            ranges.append((first, last))
        self.at += 1
        if not ranges and not negated:
            self._fail("this class is empty", start)
        return tuple(complement(ranges) if negated else ranges)

    def _class_char(self, start: int) -> int:
        if self.at >= len(self.text) or self.text[self.at] in "\r\n":
            self._fail("this class is not closed on its line", start)
        if self.text[self.at] == "\\":
            return ord(self._escaped())
        self.at += 1
        return ord(self.text[self.at - 1])

    def _escaped(self) -> str:
        start = self.at
        kind = self.text[start + 1 : start + 2]
        if kind in _HEX:
            digits = self.text[start + 2 : start + 2 + _HEX[kind]]
            if len(digits) < _HEX[kind] or not all(c in "0123456789abcdefABCDEF" for c in digits):
                self._fail(f"\\{kind} needs {_HEX[kind]} hexadecimal digits")
            if int(digits, 16) > LAST or 0xD800 <= int(digits, 16) <= 0xDFFF:
                self._fail("this is no character of Unicode")
            self.at += 2 + _HEX[kind]
            return chr(int(digits, 16))
        if kind not in _ESCAPES or not kind:
            self._fail(f"\\{kind} is no escape that GBNF knows")
        self.at += 2
        return _ESCAPES[kind]

    def _token(self) -> tuple:
        start = self.at
        negated = self.text[start] == "!"
        match = _TOKEN.match(self.text, start + negated)
        if not match:
            self._fail("expected a token such as <[123]> or <|end|>")
        id = self.tokenizer.token_id(match[0]) if match[1] is None else int(match[1][:12])
        if id is None or id >= self.tokenizer.n_vocab:
            self._fail(f"the vocabulary has no token {match[0]}")
        self.at = match.end()
        return TOKENS, (id,), negated

    def _name(self) -> str:
        match = _NAME.match(self.text, self.at)
        if not match:
            self._fail("expected a rule's name")
        self.at = match.end()
        return match[0]

    def _expect(self, word: str) -> None:
        if not self.text.startswith(word, self.at):
            self._fail(f"expected {word}")
        self.at += len(word)

    def _skip(self, pattern: re.Pattern) -> None:
        self.at = self._behind(pattern)

    def _behind(self, pattern: re.Pattern) -> int:
        """Return where a match that begins here ends; here where there is none."""
        match = pattern.match(self.text, self.at)
        return match.end() if match else self.at

    def _fail(self, what: str, where: int | None = None) -> NoReturn:
        where = self.at if where is None else where
        line = self.text.count("\n", 0, where) + 1
        column = where - (self.text.rfind("\n", 0, where) + 1) + 1
        raise LlamafileError(f"grammar: line {line}, column {column}: {what}")


def complement(ranges) -> list[tuple[int, int]]:
    """Return the ranges of all code points that are in none of these."""
    left, out = 0, []
    for first, last in sorted(ranges):
        if first > left:
            out.append((left, first - 1))
        left = max(left, last + 1)
    return [*out, (left, LAST)] if left <= LAST else out
