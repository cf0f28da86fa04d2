"""Tools for models whose template knows nothing of them: said in the system prompt, calls and results as plain text."""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_HOW = """You can call these tools, each described by a JSON schema, one a line:
{tools}

To call a tool, write nothing but its name and its arguments as JSON between these tags:
<tool_call>
{{"name": "NAME", "arguments": {{"ARGUMENT": VALUE}}}}
</tool_call>
{several}The result then comes between <tool_response> tags. {when}"""
_SEVERAL = "Write as many of these blocks as there are calls to make. "
_ONE = "Call one tool at a time. "
_AUTO = "When no tool is needed, answer in plain words."
_MUST = "You must call a tool now."


def system_prompt(tools: Sequence[dict[str, Any]], must: bool, parallel: bool) -> str:
    """Return the words that describe the tools and how to call them."""
    lines = "\n".join(json.dumps(tool.get("function", tool), ensure_ascii=False) for tool in tools)
    return _HOW.format(tools=lines, several=_SEVERAL if parallel else _ONE, when=_MUST if must else _AUTO)


def messages_with(tools: Sequence[dict[str, Any]], messages: Sequence[dict[str, Any]], must: bool,
                  parallel: bool) -> list[dict[str, Any]]:
    """Return messages in which tools, calls and results are text."""
    words = system_prompt(tools, must, parallel)
    told = [_as_text(message) for message in messages]
    first = told[0] if told else {}
    if first.get("role") in ("system", "developer") and isinstance(first.get("content"), str):
        return _joined([{**first, "content": f"{first['content']}\n\n{words}"}, *told[1:]])
    return _joined([{"role": "system", "content": words}, *told])


def _as_text(message: dict[str, Any]) -> dict[str, Any]:
    if message.get("role") == "tool":
        return {"role": "user", "content": f"<tool_response>\n{message.get('content') or ''}\n</tool_response>"}
    calls = message.get("tool_calls")
    if message.get("role") != "assistant" or not calls:
        return message
    text = message.get("content") or ""
    for call in calls:
        function = call.get("function", call)
        arguments = function.get("arguments", {})
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments, ensure_ascii=False)
        text += "\n" * bool(text)
        text += f'<tool_call>\n{{"name": {json.dumps(function.get("name"))}, "arguments": {arguments}}}\n</tool_call>'
    return {**{k: v for k, v in message.items() if k != "tool_calls"}, "content": text}


def _joined(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Make one of the results that follow each other: templates want users and assistants to take turns."""
    out: list[dict[str, Any]] = []
    for message in messages:
        same = out and out[-1].get("role") == message.get("role") == "user"
        if same and isinstance(out[-1]["content"], str) and message["content"].startswith("<tool_response>"):
            out[-1] = {**out[-1], "content": f"{out[-1]['content']}\n{message['content']}"}
        else:
            out.append(message)
    return out
