"""/v1/messages: Anthropic's form of a conversation, answered by way of OpenAI's."""

from __future__ import annotations

from llamafile.server import fields, retold
from llamafile.server.errors import unsupported
from llamafile.server.messages import SOUND_LIKE, TEMPLATE, unseen
from llamafile.server.messages_output import Output
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

    from llamafile.server.call import Call, Events, Json

_TEXT = needing(mapping(type=text(most=40), text=text()), "type")
BLOCK = needing(mapping(
    "text, a call of a tool, its result, or thoughts", type=text(most=40), text=text(), id=text(most=256),
    name=text(least=1, most=256), input=mapping(), tool_use_id=text(most=256), thinking=text(), signature=text(),
    content=either(text(), items(_TEXT, most=1024)), is_error=boolean(), source=anything(), data=text(),
), "type")  # fmt: skip
MESSAGE = needing(mapping(role=choice("user", "assistant", "system"), content=either(text(), items(BLOCK, most=1024))),
                  "role", "content")  # fmt: skip
TOOL = needing(mapping("a tool that the model may use", name=text(least=1, most=256), description=text(),
                       input_schema=mapping(), type=text(most=40)), "name")  # fmt: skip
CONVERSATION: dict[str, Any] = {
    "messages": items(MESSAGE, least=1, most=4096), "system": either(text(), items(_TEXT, most=256)),
    "tools": items(TOOL, most=512), "model": fields.OPENAI["model"],
    "tool_choice": needing(mapping(type=choice("auto", "any", "tool", "none"), name=text(least=1, most=256),
                                   disable_parallel_tool_use=boolean()), "type"),
    "thinking": mapping(type=text(most=40), budget_tokens=integer(0, INT32)),
    "chat_template_kwargs": TEMPLATE["chat_template_kwargs"],
}  # fmt: skip
BODY = needing(mapping(
    "A conversation and how to go on with it.",
    **CONVERSATION, max_tokens=integer(1, INT32), stream=boolean(), metadata=mapping(),
    stop_sequences=items(text(), most=fields.MOST_STOPS), **fields.SAMPLING, **fields.GRAMMAR,
    cache_prompt=fields.ANSWERING["cache_prompt"], id_slot=fields.ANSWERING["id_slot"],
), "messages", "max_tokens")  # fmt: skip
_SAME = (*fields.SAMPLING, *fields.GRAMMAR, "model", "stream", "max_tokens", "chat_template_kwargs", "cache_prompt",
         "id_slot")  # fmt: skip


async def post(call: Call) -> Json | Events:
    """Answer a conversation."""
    return await retold.answer(call, as_chat(call.body), Output)


def as_chat(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body that asks /v1/chat/completions for the same."""
    found = {name: body[name] for name in _SAME if name in body}
    if "stop_sequences" in body:
        found["stop"] = body["stop_sequences"]
    found["messages"] = _messages(body)
    if body.get("tools"):
        found["tools"] = [_tool(tool) for tool in body["tools"]]
    wish = body.get("tool_choice")
    if wish is not None:
        kind = {"auto": "auto", "any": "required", "none": "none"}.get(wish["type"])
        if kind is None and "name" not in wish:
            raise invalid("tool_choice.name", "is missing")
        found["tool_choice"] = kind or {"type": "function", "function": {"name": wish["name"]}}
        found["parallel_tool_calls"] = not wish.get("disable_parallel_tool_use", False)
    if body.get("thinking", {}).get("type") in ("enabled", "disabled"):
        more = {"enable_thinking": body["thinking"]["type"] == "enabled"}
        found["chat_template_kwargs"] = {**more, **body.get("chat_template_kwargs", {})}
        if more["enable_thinking"] and "budget_tokens" in body["thinking"]:
            found["reasoning_budget_tokens"] = body["thinking"]["budget_tokens"]
    return found


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    if tool.get("type", "custom") != "custom":
        raise unsupported(f"Tools of type {tool['type'][:40]!r} are not run here; offer your own")
    function = {"name": tool["name"], "parameters": tool.get("input_schema", {"type": "object"})}
    if "description" in tool:
        function["description"] = tool["description"]
    return {"type": "function", "function": function}


def _messages(body: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    system = body.get("system")
    if system:
        found.append({"role": "system", "content": system if isinstance(system, str) else "\n".join(
            part.get("text", "") for part in system)})
    for index, message in enumerate(body["messages"]):
        if isinstance(message["content"], str):
            found.append({"role": message["role"], "content": message["content"]})
        else:
            found += _of_blocks(message, f"messages[{index}].content")
    return found


def _of_blocks(message: dict[str, Any], field: str) -> list[dict[str, Any]]:
    """Return a message as OpenAI has it: results of tools are messages of their own and come first."""
    results: list[dict[str, Any]] = []
    texts: list[str] = []
    mine: dict[str, Any] = {"role": message["role"]}
    for index, block in enumerate(message["content"]):
        kind, at = block["type"], f"{field}[{index}]"
        if kind == "text":
            texts.append(_needed(block, "text", at))
        elif kind == "thinking":
            mine["reasoning_content"] = mine.get("reasoning_content", "") + _needed(block, "thinking", at)
        elif kind == "tool_use":
            function = {"name": _needed(block, "name", at), "arguments": _written(block.get("input", {}))}
            mine.setdefault("tool_calls", []).append(
                {"id": _needed(block, "id", at), "type": "function", "function": function})
        elif kind == "tool_result":
            results.append({"role": "tool", "tool_call_id": _needed(block, "tool_use_id", at),
                            "content": _result(block.get("content", ""))})
        elif kind in SOUND_LIKE:
            raise unseen(kind)
        elif kind != "redacted_thinking":
            raise invalid(f"{at}.type", f"{kind[:40]!r} is not a kind of content")
    if texts or "tool_calls" in mine:
        mine["content"] = "\n".join(texts)
        return [*results, mine]
    return results or [{**mine, "content": ""}]


def _needed(block: dict[str, Any], name: str, at: str) -> str:
    if name not in block:
        raise invalid(f"{at}.{name}", "is missing")
    return block[name]


def _written(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)


def _result(content: Any) -> str:
    if isinstance(content, str):
        return content
    for part in content:
        if part["type"] in SOUND_LIKE:
            raise unseen(part["type"])
    return "\n".join(part.get("text", "") for part in content)
