"""OpenAI's chat messages: what they may be, and how they look to a chat template."""

from __future__ import annotations

from llamafile.server.errors import unsupported
from llamafile.server.schema import (
    INT32,
    anything,
    boolean,
    choice,
    either,
    integer,
    invalid,
    items,
    mapping,
    needing,
    text,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llamafile.serving import Refused

MOST_MESSAGES = 4096
MOST_TOOLS = 512

PART = needing(mapping(
    "a part of a message's content", type=text(most=40), text=text(), refusal=text(),
    image_url=anything(), input_audio=anything(), file=anything(),
), "type")  # fmt: skip
FUNCTION_CALL = mapping(name=text(least=1, most=256), arguments=either(text(), mapping()))
TOOL_CALL = needing(mapping(id=text(most=256), type=text(most=40), index=integer(0), function=needing(
    FUNCTION_CALL, "name")), "function")  # fmt: skip
MESSAGE = needing(mapping(
    "a message of the conversation", role=text(least=1, most=40), content=either(text(), items(PART, most=1024)),
    name=text(most=256), tool_calls=items(TOOL_CALL, most=128), tool_call_id=text(most=256), refusal=text(),
    reasoning_content=text(),
), "role")  # fmt: skip
MESSAGES = items(MESSAGE, "the conversation so far", least=1, most=MOST_MESSAGES)

TOOL = needing(mapping(
    "a function that the model may call", type=choice("function"),
    function=needing(mapping(name=text(least=1, most=256), description=text(), parameters=either(
        mapping(), boolean()), strict=boolean()), "name"),
), "function")  # fmt: skip

TOOLS: dict[str, Any] = {
    "tools": items(TOOL, "functions that the model may call", most=MOST_TOOLS),
    "tool_choice": either(
        choice("auto", "none", "required"),
        needing(mapping(type=text(most=40), function=needing(mapping(name=text(least=1, most=256)), "name")),
                "function"),
    ),
    "parallel_tool_calls": boolean("let the model call several functions at once"),
}  # fmt: skip

TEMPLATE: dict[str, Any] = {
    "chat_template_kwargs": mapping("further variables for the chat template"),
    "add_generation_prompt": boolean("end the prompt where the model's answer begins"),
    "reasoning_effort": text("handed to the chat template", most=40),
    "reasoning_budget_tokens": integer(-1, INT32, "tokens for thoughts, after which the model answers; -1 for any"),
    "thinking_budget_tokens": integer(-1, INT32, "the same"),
    "reasoning_budget_message": text("what ends a thought out of budget", most=4096),
    "reasoning_format": choice("auto", "none", "deepseek", "deepseek-legacy", about="where thoughts go"),
}

SOUND_LIKE = {"image_url": "images", "input_image": "images", "image": "images", "input_audio": "sounds",
              "audio_url": "sounds", "video_url": "videos", "file": "files", "input_file": "files",
              "document": "documents"}  # fmt: skip


def unseen(kind: str) -> Refused:
    """Return the refusal of a part of that kind, one of SOUND_LIKE."""
    return unsupported(f"This model takes no {SOUND_LIKE[kind]}; send text alone")


def for_template(messages: list[dict[str, Any]], field: str = "messages") -> list[dict[str, Any]]:
    """Return messages whose content is text; raises Refused 501 for images and other things the model cannot see."""
    return [_plain(message, f"{field}[{index}]") for index, message in enumerate(messages)]


def _plain(message: dict[str, Any], field: str) -> dict[str, Any]:
    found = dict(message)
    role = found["role"]
    if role == "developer":  # OpenAI's newer name
        found["role"] = "system"
    content = found.get("content")
    if content is None and not (role == "assistant" and found.get("tool_calls")):
        raise invalid(f"{field}.content", "is missing")
    found["content"] = text_of(content or "", f"{field}.content")
    for index, call in enumerate(found.get("tool_calls", ())):
        call.setdefault("type", "function")
        call.setdefault("id", f"call_{index}")
        call["function"].setdefault("arguments", "{}")
    return found


def text_of(content: Any, field: str) -> str:
    """Return a content's text, its parts joined by newlines."""
    if isinstance(content, str):
        return content
    texts = []
    for index, part in enumerate(content):
        kind = part["type"]
        if kind in SOUND_LIKE:
            raise unseen(kind)
        if kind not in ("text", "input_text", "output_text", "refusal"):
            raise invalid(f"{field}[{index}].type", f"{kind[:40]!r} is not a kind of content; send text")
        words = part.get("refusal" if kind == "refusal" else "text")
        if words is None:
            raise invalid(f"{field}[{index}].text", "is missing")
        texts.append(words)
    return "\n".join(texts)
