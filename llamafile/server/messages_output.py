"""The output of /v1/messages: blocks that grow, the events that tell of it, and the message that they add up to."""

from __future__ import annotations

import json

from llamafile.server import errors
from llamafile.server.growing import TEXT, THOUGHT, Growing
from llamafile.server.openai_form import new_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llamafile.server.call import Call
    from llamafile.server.chat import Chat
    from llamafile.serving import Refused


KINDS = {THOUGHT: "thinking", TEXT: "text"}


class Output(Growing):
    """Takes the text of an answer; every method returns the events to send where the answer is streamed."""

    def __init__(self, call: Call, chat: Chat) -> None:
        super().__init__(chat.answer())
        self.prompt_tokens = len(chat.ids)
        self.model = call.body.get("model") or call.served.name
        self.id = new_id("msg_")
        self.blocks: list[dict[str, Any]] = []
        self.arguments = ""

    def begin(self) -> list[dict[str, Any]]:
        """Return the events that come first."""
        usage = {"input_tokens": self.prompt_tokens, "output_tokens": 0, "cache_read_input_tokens": 0,
                 "cache_creation_input_tokens": 0}
        return [{"type": "message_start", "message": self._object([], None, None, usage)}]

    def finish(self, result: Any) -> list[dict[str, Any]]:
        """Take the end of the answer."""
        made = self.end(True)
        end = {"stop_reason": self._reason(result), "stop_sequence": result.stopping_word or None}
        return [*made, {"type": "message_delta", "delta": end, "usage": self._usage(result)}, {"type": "message_stop"}]

    def failed(self, problem: Refused) -> list[dict[str, Any]]:
        """Return the events of an answer that broke off."""
        return [errors.body(problem)]

    def whole(self, result: Any) -> dict[str, Any]:
        """Return the whole message."""
        return self._object(self.blocks, self._reason(result), result.stopping_word or None, self._usage(result))

    def opened(self, kind: str, call: dict[str, Any] | None) -> list[dict[str, Any]]:
        """Begin a block."""
        if call is not None:
            self.arguments = ""
            block: dict[str, Any] = {"type": "tool_use", "id": call.get("id") or new_id("toolu_"),
                                     "name": call.get("function", {}).get("name", ""), "input": {}}
        else:
            block = {"type": KINDS[kind], KINDS[kind]: "", **({"signature": ""} if kind == THOUGHT else {})}
        self.blocks.append(block)
        return [{"type": "content_block_start", "index": len(self.blocks) - 1, "content_block": dict(block)}]

    def grown(self, kind: str, words: str) -> list[dict[str, Any]]:
        """Add to the last block."""
        name = KINDS.get(kind)
        if name is None:
            self.arguments += words
            return [self._delta({"type": "input_json_delta", "partial_json": words})]
        self.blocks[-1][name] += words
        return [self._delta({"type": f"{name}_delta", name: words})]

    def closed(self, whole: bool) -> list[dict[str, Any]]:
        """End the last block."""
        if self.blocks[-1]["type"] == "tool_use":
            self.blocks[-1]["input"] = _parsed(self.arguments)
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
