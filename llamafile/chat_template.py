"""Turns a conversation into the text a model was trained on, by the GGUF's own jinja template or a named one."""

from __future__ import annotations

from llamafile.errors import LlamafileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

Message = "Mapping[str, Any]"

# What rendering imports only when it comes to it; a sandboxed process imports these before.
LATE = ("jinja2.sandbox", "jinja2.ext", "jinja2.debug", "json")

_compiled: dict[str, Any] = {}
# What a template can do wrong beside jinja's own errors.
_TEMPLATE_MISTAKES = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError,
                      ValueError)


def text_of(choice: str | None, own: str | None, label: str) -> str:
    """Return the jinja text for --chat-template `choice`: a name, a text, or None for the model's `own`."""
    from llamafile.chat_formats import NAMES, text_of_name

    if choice is None:
        if not own:
            raise LlamafileError(f"{label}: has no chat template; name one with --chat-template")
        return own
    if choice in NAMES:
        return text_of_name(choice)
    if "{{" in choice or "{%" in choice:
        return choice
    raise LlamafileError(f"--chat-template {choice}: no such template; give a jinja text, or one of {', '.join(NAMES)}")


def render(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    bos: str = "",
    eos: str = "",
    add_generation_prompt: bool = True,
    tools: Sequence[Mapping[str, Any]] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> str:
    """Return the conversation as text; messages have `role` and `content`. LlamafileError for a template that fails."""
    from llamafile import chat_turns

    if not tools:
        plain = chat_turns.render(template, messages, bos, eos, add_generation_prompt, extra or {})
        if plain is not None:
            return plain
    from jinja2.exceptions import TemplateError

    from llamafile import template_limits

    try:
        compiled = _compiled.get(template)
        if compiled is None:
            compiled = _compiled[template] = _environment().from_string(template)
        given = {"messages": messages, "bos_token": bos, "eos_token": eos, "tools": tools, "documents": None,
                 "add_generation_prompt": add_generation_prompt, **(extra or {})}
        return template_limits.render(compiled, given)
    except (TemplateError, *_TEMPLATE_MISTAKES) as wrong:
        reason = " ".join(str(wrong).split()) or type(wrong).__name__
        raise LlamafileError(f"chat template: {reason}; choose another with --chat-template") from None


def late(template: str) -> tuple[str, ...]:
    """Return the modules that plain turns import when they are rendered: none where that needs no jinja."""
    from llamafile import chat_turns

    return () if chat_turns.known(template) else LATE


def _environment() -> Any:
    """Return the sandbox in which templates run, set up as those who write them expect."""
    from jinja2.exceptions import TemplateError
    from jinja2.ext import loopcontrols

    from llamafile import template_limits

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    sandbox = template_limits.environment(trim_blocks=True, lstrip_blocks=True,
                                          extensions=[loopcontrols, _generation_blocks()])
    sandbox.globals["raise_exception"] = raise_exception
    sandbox.globals["strftime_now"] = _strftime_now
    sandbox.filters["tojson"] = _tojson  # jinja's own escapes < > & ', which would go into the prompt
    return sandbox


def _strftime_now(form: str) -> str:
    import time

    return time.strftime(form)


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, separators: Any = None,
            sort_keys: bool = False) -> str:
    import json

    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _generation_blocks() -> Any:
    """Return the extension that reads {% generation %}, which marks answers for training and writes nothing itself."""
    from jinja2 import nodes
    from jinja2.ext import Extension

    class GenerationBlocks(Extension):
        """Keeps the body of a generation block."""

        tags = {"generation"}  # noqa: RUF012 - jinja's own name and form

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body, lineno=line)

    return GenerationBlocks
