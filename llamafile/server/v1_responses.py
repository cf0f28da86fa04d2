"""/v1/responses: OpenAI's newer form of a conversation, answered by way of the older one."""

from __future__ import annotations

from llamafile.server import fields, retold
from llamafile.server.errors import unsupported
from llamafile.server.messages import PART, TEMPLATE
from llamafile.server.responses_output import Output
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

_CONTENT = either(text(), items(PART, most=1024))
ITEM = mapping(
    "a message, a call of a function, what it returned, or thoughts", type=text(most=40), role=text(least=1, most=40),
    content=_CONTENT, call_id=text(most=256), name=text(least=1, most=256), arguments=text(), output=_CONTENT,
    id=text(most=256), status=text(most=40), summary=anything(),
)  # fmt: skip
TOOL = needing(mapping(
    "a function that the model may call", type=text(most=40), name=text(least=1, most=256), description=text(),
    parameters=either(mapping(), boolean()), strict=boolean(),
), "type")  # fmt: skip
FORMAT = mapping(type=choice("text", "json_object", "json_schema"), name=text(most=200),
                 schema=either(mapping(), boolean()), strict=boolean(), description=text())
BODY = needing(mapping(
    "A conversation and how to go on with it.",
    input=either(text(), items(ITEM, least=1, most=4096)), instructions=text("the system prompt"),
    model=fields.OPENAI["model"], user=text(), stream=boolean(), store=boolean("nothing is stored"),
    max_output_tokens=integer(1, INT32), tools=items(TOOL, most=512), previous_response_id=text(most=256),
    tool_choice=either(choice("auto", "none", "required"), mapping(type=text(most=40), name=text(most=256))),
    parallel_tool_calls=boolean(), text=mapping(format=FORMAT, verbosity=text(most=40)), metadata=mapping(),
    reasoning=mapping(effort=text(most=40), summary=text(most=40)), top_logprobs=integer(0, 20),
    chat_template_kwargs=TEMPLATE["chat_template_kwargs"], **fields.SAMPLING, **fields.GRAMMAR,
    cache_prompt=fields.ANSWERING["cache_prompt"], id_slot=fields.ANSWERING["id_slot"],
), "input")  # fmt: skip
_SAME = (*fields.SAMPLING, *fields.GRAMMAR, "model", "stream", "parallel_tool_calls", "chat_template_kwargs",
         "cache_prompt", "id_slot")  # fmt: skip


async def post(call: Call) -> Json | Events:
    """Answer a conversation."""
    return await retold.answer(call, as_chat(call.body), Output)


def as_chat(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body that asks /v1/chat/completions for the same."""
    if body.get("previous_response_id"):
        raise unsupported("Responses are not stored here; send the whole conversation instead of previous_response_id")
    found = {name: body[name] for name in _SAME if name in body}
    found["messages"] = _messages(body)
    if "max_output_tokens" in body:
        found["max_tokens"] = body["max_output_tokens"]
    form = body.get("text", {}).get("format", {})
    if form.get("type", "text") != "text":
        found["response_format"] = {"type": form["type"], "json_schema": form}
    if "effort" in body.get("reasoning", {}):
        found["reasoning_effort"] = body["reasoning"]["effort"]
    if body.get("tools"):
        found["tools"] = [_tool(tool, index) for index, tool in enumerate(body["tools"])]
    wish = body.get("tool_choice")
    if isinstance(wish, dict):
        if "name" not in wish:
            raise invalid("tool_choice.name", "is missing")
        wish = {"type": "function", "function": {"name": wish["name"]}}
    if wish is not None:
        found["tool_choice"] = wish
    return found


def _tool(tool: dict[str, Any], index: int) -> dict[str, Any]:
    if tool["type"] != "function":
        raise unsupported(f"Tools of type {tool['type'][:40]!r} are not run here; offer functions")
    if "name" not in tool:
        raise invalid(f"tools[{index}].name", "is missing")
    names = ("name", "description", "parameters", "strict")
    return {"type": "function", "function": {name: tool[name] for name in names if name in tool}}


def _messages(body: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if body.get("instructions"):
        found.append({"role": "system", "content": body["instructions"]})
    given = body["input"]
    if isinstance(given, str):
        return [*found, {"role": "user", "content": given}]
    thoughts = ""
    for index, item in enumerate(given):
        kind, field = item.get("type", "message"), f"input[{index}]"
        if kind == "message":
            if "role" not in item:
                raise invalid(f"{field}.role", "is missing")
            found.append({"role": item["role"], "content": item.get("content")})
        elif kind == "function_call":
            _add_call(found, item, field)
        elif kind == "function_call_output":
            if "output" not in item or "call_id" not in item:
                raise invalid(f"{field}.{'call_id' if 'output' in item else 'output'}", "is missing")
            found.append({"role": "tool", "tool_call_id": item["call_id"], "content": item["output"]})
        elif kind == "reasoning":
            thoughts = "".join(part.get("text", "") for part in item.get("content", []) if isinstance(part, dict))
            continue
        else:
            raise unsupported(f"Items of type {kind[:40]!r} are not understood here")
        if thoughts and found[-1]["role"] == "assistant":
            found[-1]["reasoning_content"] = thoughts
        thoughts = ""
    return found


def _add_call(found: list[dict[str, Any]], item: dict[str, Any], field: str) -> None:
    """Add a call to the assistant's message before it, or to one of its own."""
    for name in ("call_id", "name", "arguments"):
        if name not in item:
            raise invalid(f"{field}.{name}", "is missing")
    if not found or found[-1]["role"] != "assistant":
        found.append({"role": "assistant", "content": None})
    function = {"name": item["name"], "arguments": item["arguments"]}
    found[-1].setdefault("tool_calls", []).append({"id": item["call_id"], "type": "function", "function": function})
