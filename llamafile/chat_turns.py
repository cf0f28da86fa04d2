"""Renders conversations of plain turns for templates that are known, without jinja, whose import takes longer than
all else on the way to a first token."""

from __future__ import annotations

import zlib

from llamafile.chat_formats import BOS, EOS, NAMES, format_of, text_of_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from llamafile.chat_formats import Format

TEXT_LIMIT = 1 << 20  # characters; a longer conversation has time for jinja
ROLES = ("system", "user", "assistant")
OWN = ("messages", "tools", "documents", "bos_token", "eos_token", "add_generation_prompt")

# Templates in GGUF files: their length and CRC-32, the format whose turns they write, and the system prompt that they
# begin with where a conversation has none.
_KNOWN = {
    (368, 3167515029): ("chatml", "You are a helpful AI assistant named SmolLM, trained by Hugging Face"),
    (2507, 4253130788): ("chatml", "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."),
}
_found: dict[str, tuple[Format, str] | None] = {}


def known(template: str) -> tuple[Format, str] | None:
    """Return the format of a template and its default system prompt ('' for none), or None for others."""
    if template not in _found:
        name, system = _KNOWN.get((len(template), zlib.crc32(template.encode("utf-8", "replace"))), ("", ""))
        if not name:
            name = next((each for each in NAMES if text_of_name(each) == template), "")
        _found[template] = (format_of(name), system) if name else None
    return _found[template]


def render(template: str, messages: Sequence[Mapping[str, Any]], bos: str, eos: str, answer: bool,
           extra: Mapping[str, Any]) -> str | None:
    """Return the conversation as text, as jinja would render it, or None where only jinja knows that.

    `answer` says that the text ends where the model's answer begins; `extra` are further variables.
    """
    found = known(template)
    if found is None or not messages or not all(map(_is_plain, messages)) or any(name in extra for name in OWN):
        return None
    form, default = found
    if default and messages[0]["role"] != "system":
        messages = [{"role": "system", "content": default}, *messages]

    def written(text: str) -> str:
        return text.replace(BOS, bos).replace(EOS, eos)

    turns = {role: [written(text) for text in getattr(form, role)] for role in ROLES}
    parts, system = [written(form.start)], ""
    for message in messages:
        role, (before, after) = message["role"], turns[message["role"]]
        content = message["content"].strip() if role in form.trim else message["content"]
        if role == "system" and form.inside:
            system = before + content + after
        elif role == "user" and form.inside:
            parts += (before, system, content, after)
            system = ""
        else:
            parts += (before, content, after)
    text = "".join(parts) + (written(form.answer) if answer else "")
    return text if len(text) <= TEXT_LIMIT else None


def _is_plain(message: Mapping[str, Any]) -> bool:
    return message.get("role") in ROLES and type(message.get("content")) is str and not message.get("tool_calls")
