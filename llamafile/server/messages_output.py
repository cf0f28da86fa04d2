"""The output of /v1/messages: blocks that grow, the events that tell of it, and the message that they add up to."""

from __future__ import annotations

import json

from llamafile.server import errors
from llamafile.server.openai_form import new_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llamafile.server.call import Call
    from llamafile.server.chat import Chat
    from llamafile.serving import Refused


class Output:
    """Takes the text of an answer; every method returns the events to send where the answer is streamed."""

    def __init__(self, call: Call, chat: Chat) -> None:
        self.answer, self.prompt_tokens = chat.answer(), len(chat.ids)
        self.model = call.body.get("model") or call.served.name
        self.id = new_id("msg_")
        self.blocks: list[dict[str, Any]] = []
        self.open = ""  # the kind of the block that still grows, with a call's number
        self.arguments = ""

    def begin(self) -> list[dict[str, Any]]:
        """Return the events that come first."""
        usage = {"input_tokens": self.prompt_tokens, "output_tokens": 0, "cache_read_input_tokens": 0,
                 "cache_creation_input_tokens": 0}
        return [{"type": "message_start", "message": self._object([], None, None, usage)}]

    def feed(self, text: str) -> list[dict[str, Any]]:
        """Take more text."""
        return self._take(self.answer.feed(text))

    def finish(self, result: Any) -> list[dict[str, Any]]:
        """Take the end of the answer."""
        made = self._take(self.answer.close())
        if not self.blocks:
            made += self._switch("text")
        made += self._close()
        end = {"stop_reason": self._reason(result), "stop_sequence": result.stopping_word or None}
        return [*made, {"type": "message_delta", "delta": end, "usage": self._usage(result)}, {"type": "message_stop"}]

    def failed(self, problem: Refused) -> list[dict[str, Any]]:
        """Return the events of an answer that broke off."""
        return [errors.body(problem)]

    def whole(self, result: Any) -> dict[str, Any]:
        """Return the whole message."""
        return self._object(self.blocks, self._reason(result), result.stopping_word or None, self._usage(result))

    def _take(self, deltas: list[dict[str, Any]]) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = []
        for delta in deltas:
            if delta.get("reasoning_content"):
                made += self._grow("thinking", "thinking_delta", delta["reasoning_content"])
            if delta.get("content"):
                made += self._grow("text", "text_delta", delta["content"])
            for call in delta.get("tool_calls", ()):
                made += self._switch(f"call {call['index']}", call)
                words = call.get("function", {}).get("arguments")
                if words:
                    self.arguments += words
                    made.append(self._delta({"type": "input_json_delta", "partial_json": words}))
        return made

    def _grow(self, kind: str, name: str, words: str) -> list[dict[str, Any]]:
        made = self._switch(kind)
        self.blocks[-1][kind] += words
        return [*made, self._delta({"type": name, kind: words})]

    def _switch(self, kind: str, call: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Open a block of a kind unless one is open, and close the one before."""
        if self.open == kind:
            return []
        made = self._close()
        self.open = kind
        if call is not None:
            self.arguments = ""
            block: dict[str, Any] = {"type": "tool_use", "id": call.get("id") or new_id("toolu_"),
                                     "name": call.get("function", {}).get("name", ""), "input": {}}
        else:
            block = {"type": kind, kind: "", **({"signature": ""} if kind == "thinking" else {})}
        self.blocks.append(block)
        return [*made, {"type": "content_block_start", "index": len(self.blocks) - 1, "content_block": dict(block)}]

    def _close(self) -> list[dict[str, Any]]:
        """Close the open block, if there is one."""
        if not self.open:
            return []
        if self.blocks[-1]["type"] == "tool_use":
            self.blocks[-1]["input"] = _parsed(self.arguments)
        self.open = ""
        return [{"type": "content_block_stop", "index": len(self.blocks) - 1}]

    def _delta(self, delta: dict[str, Any]) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": len(self.blocks) - 1, "delta": delta}

    def _reason(self, result: Any) -> str:
        if result.stop_type == "word":
            return "stop_sequence"
        if result.stop_type != "eos":
            return "max_tokens"
        return "tool_use" if self.answer.calls else "end_turn"

    def _usage(self, result: Any) -> dict[str, Any]:
        """What was cached is counted beside the input, as Anthropic does."""
        return {"input_tokens": result.tokens_evaluated - result.tokens_cached,
                "output_tokens": result.tokens_predicted, "cache_read_input_tokens": result.tokens_cached,
                "cache_creation_input_tokens": 0}

    def _object(self, blocks: list[dict[str, Any]], reason: str | None, word: str | None,
                usage: dict[str, Any]) -> dict[str, Any]:
        return {"id": self.id, "type": "message", "role": "assistant", "model": self.model, "content": blocks,
                "stop_reason": reason, "stop_sequence": word, "usage": usage}


def _parsed(arguments: str) -> dict[str, Any]:
    try:
        found = json.loads(arguments or "{}")
    except ValueError:  # the answer was cut off in the middle of it
        return {}
    return found if isinstance(found, dict) else {}
