"""Calls of tools: what is said to the model, what holds its answer to the format, and what takes the answer apart.

    plan = tool_calls.plan(template, tools, "auto", parallel=True)
    text = chat_template.render(template, plan.messages(messages), tools=plan.tools, ...)
    request = Request(..., constraint=plan.constraint(tokenizer, text), special=plan.special)
    parser = plan.parser(text)
    parser.feed(piece), ..., parser.close()      # lists of deltas in OpenAI's form
"""

from __future__ import annotations

from llamafile.errors import LlamafileError
from llamafile.thinking import marks_of

from .formats import GENERIC, choose

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from llamafile.thinking import Marks
    from llamafile.tokens import Tokenizer

    from .parser import Parser

__all__ = ["Plan", "plan"]

REASONING_FORMATS = ("auto", "none", "deepseek", "deepseek-legacy")
TOOL_LIMIT = 128


def plan(template: str, tools: Sequence[dict[str, Any]] | None = None, tool_choice: Any = "auto",
         parallel: bool = True, *, reasoning_format: str = "auto", response: tuple[str, Any] | None = None) -> Plan:
    """Return how one answer is asked for and read.

    `template` is the model's own chat template, `tools` and `tool_choice` are as OpenAI has them: "auto", "none",
    "required" or an object that names a function. `response` is a kind and text for grammar.compile that the answer
    itself must follow, behind what is thought; with tools that may be called it is a JSON schema, and the answer calls
    of tools or what the schema accepts. Raise LlamafileError, whose text begins with the field's name, for what cannot
    be served.
    """
    return Plan(template, list(tools or ()), tool_choice, parallel, reasoning_format, response)


class Plan:
    """How one answer is asked for and read; `format` is the name of the calls' format, "none" without tools."""

    def __init__(self, template: str, tools: list[dict[str, Any]], tool_choice: Any, parallel: bool,
                 reasoning_format: str, response: tuple[str, Any] | None) -> None:
        functions = [_function(tool, place) for place, tool in enumerate(tools)]
        if len(functions) > TOOL_LIMIT:
            raise LlamafileError(f"tools: there are {len(functions)}; at most {TOOL_LIMIT} are served")
        if reasoning_format not in REASONING_FORMATS:
            raise LlamafileError(f"reasoning_format: {reasoning_format!r} is none of {', '.join(REASONING_FORMATS)}")
        self.must, functions = _chosen(tool_choice, functions)
        if response is not None and functions and response[0] != "json_schema":
            raise LlamafileError("tools: cannot be called where the answer must follow a grammar; give a JSON schema")
        self._given, self._functions, self._response = tools, functions, response
        self.parallel = parallel
        self._format = choose(template) if functions else None
        self.format = self._format.name if self._format else "none"
        self._marks = marks_of(template)
        self._splits = reasoning_format != "none"

    @property
    def tools(self) -> list[dict[str, Any]] | None:
        """What the template is given as `tools`; None where it knows nothing of them or none may be called."""
        return self._given if self._format not in (None, GENERIC) else None

    @property
    def special(self) -> bool:
        """Whether the parser must see control tokens written out."""
        return self._format is not None or (self._marks is not None and (self._splits or self._marks.channels))

    def messages(self, messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the messages for the template; where it knows nothing of tools, with all about them as text."""
        if self._format is GENERIC:
            from .generic import messages_with

            return messages_with([{"type": "function", "function": f} for f in self._functions], messages, self.must,
                                 self.parallel)
        return [_with_objects(message) for message in messages]

    def within(self, rule: Any, tokenizer: Tokenizer, prompt: str, budget: int, message: str = "") -> Any:
        """Return a rule (or None) whose answer thinks for no more than `budget` tokens, the last of them a message."""
        if budget < 0 or self._marks is None:
            return rule
        from .budget import Budget

        return Budget(rule, tokenizer, self._marks, budget, message, self._thinking(prompt))

    def constraint(self, tokenizer: Tokenizer, prompt: str = "") -> Any:
        """Return what the answer to a rendered prompt must follow (Grammar or Lazy), or None."""
        thinking = self._thinking(prompt)
        if self._format is None:
            return None if self._response is None else _response(self._response, tokenizer, self._marks, thinking)
        from .constraint import Calls

        calls = Calls(self._format, self._functions, tokenizer, self.parallel, self._opened(prompt), self._marks)
        if self.must:
            return calls.at_once(thinking)
        return calls.behind_trigger(thinking) if self._response is None else calls.or_else(self._response[1], thinking)

    def parser(self, prompt: str = "") -> Parser:
        """Return what takes the answer to a rendered prompt apart."""
        from .parser import Parser

        schemas = {function["name"]: function.get("parameters") or {} for function in self._functions}
        marks = self._marks if self._marks is not None and (self._splits or self._marks.channels) else None
        return Parser(self._format, schemas, several=self.parallel, marks=marks,
                      thinking=self._splits and self._thinking(prompt), opened=self._opened(prompt),
                      strict=self._response is not None)

    def _thinking(self, prompt: str) -> bool:
        """Whether a prompt ends inside what is thought."""
        return self._marks is not None and prompt.rstrip().endswith(self._marks.opening)

    def _opened(self, prompt: str) -> bool:
        return self._format is not None and prompt.endswith(self._format.trigger)


def _with_objects(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message whose calls have their arguments as templates expect them: as objects, not as text."""
    if not message.get("tool_calls"):
        return message
    calls = []
    for call in message["tool_calls"]:
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict) and isinstance(function.get("arguments"), str):
            call = {**call, "function": {**function, "arguments": _object(function["arguments"])}}
        calls.append(call)
    return {**message, "tool_calls": calls}


def _object(text: str) -> Any:
    import json

    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return found if isinstance(found, dict) else text


def _function(tool: Any, place: int) -> dict[str, Any]:
    """Return a tool's function, checked; raise LlamafileError."""
    found = tool.get("function") if isinstance(tool, dict) and tool.get("type", "function") == "function" else None
    if not isinstance(found, dict):
        raise LlamafileError(f"tools[{place}]: is no function")
    name = found.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= 128 or not all(c.isalnum() or c in "_-.:/" for c in name):
        raise LlamafileError(f"tools[{place}].function.name: must be up to 128 letters, digits and _-.:/")
    if not isinstance(found.get("parameters") or {}, dict):
        raise LlamafileError(f"tools[{place}].function.parameters: must be a JSON schema")
    return found


def _chosen(choice: Any, functions: list[dict[str, Any]]) -> tuple[bool, list[dict[str, Any]]]:
    """Return whether a call must come, and the functions that may be called."""
    if choice in (None, "auto"):
        return False, functions
    if choice == "none":
        return False, []
    if choice in ("required", "any"):
        if not functions:
            raise LlamafileError("tool_choice: a call is required, but there are no tools")
        return True, functions
    named = choice.get("function", choice) if isinstance(choice, dict) else None
    name = named.get("name") if isinstance(named, dict) else None
    found = [function for function in functions if function["name"] == name]
    if not found:
        raise LlamafileError(f"tool_choice: {choice!r} is neither auto, none, required nor the name of a tool")
    return True, found[:1]


def _response(response: tuple[str, Any], tokenizer: Tokenizer, marks: Marks | None, thinking: bool) -> Any:
    import re

    from llamafile import grammar
    from llamafile.grammar.lazy import Lazy

    found = grammar.compile(*response, tokenizer, blanks_first=thinking)
    if not thinking or marks is None:
        return found
    return Lazy(found, re.compile(re.escape(marks.closing.encode())), tokenizer)
