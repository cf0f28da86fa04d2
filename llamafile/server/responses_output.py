"""The output of /v1/responses: items that grow, the events that tell of it, and the response that they add up to."""

from __future__ import annotations

import time

from llamafile.server.growing import TEXT, THOUGHT, Growing
from llamafile.server.openai_form import new_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llamafile.server.call import Call
    from llamafile.server.chat import Chat
    from llamafile.serving import Refused

NAMES = {TEXT: "response.output_text", THOUGHT: "response.reasoning_text"}


class Output(Growing):
    """Takes the text of an answer; every method returns the events to send where the answer is streamed."""

    def __init__(self, call: Call, chat: Chat) -> None:
        super().__init__(chat.answer())
        self.body = call.body
        self.model = call.body.get("model") or call.served.name
        self.id, self.created = new_id("resp_"), int(time.time())
        self.items: list[dict[str, Any]] = []
        self.count = 0

    def begin(self) -> list[dict[str, Any]]:
        """Return the events that come first."""
        return [self._event(f"response.{word}", response=self._object("in_progress")) for word in
                ("created", "in_progress")]

    def finish(self, result: Any) -> list[dict[str, Any]]:
        """Take the end of the answer."""
        made = self.end(result.stop_type in ("eos", "word"))
        done = self.whole(result)
        return [*made, self._event(f"response.{done['status']}", response=done)]

    def failed(self, problem: Refused) -> list[dict[str, Any]]:
        """Return the events of an answer that broke off."""
        error = {"code": "server_error", "message": problem.message}
        return [self._event("error", **error, param=None),
                self._event("response.failed", response=self._object("failed", error=error))]

    def whole(self, result: Any) -> dict[str, Any]:
        """Return the whole response."""
        complete = result.stop_type in ("eos", "word")
        usage = {
            "input_tokens": result.tokens_evaluated, "output_tokens": result.tokens_predicted,
            "total_tokens": result.tokens_evaluated + result.tokens_predicted,
            "input_tokens_details": {"cached_tokens": result.tokens_cached},
            "output_tokens_details": {"reasoning_tokens": 0},
        }  # fmt: skip
        return self._object(
            "completed" if complete else "incomplete", usage=usage, completed_at=int(time.time()),
            incomplete_details=None if complete else {"reason": "max_output_tokens"},
        )  # fmt: skip

    def opened(self, kind: str, call: dict[str, Any] | None) -> list[dict[str, Any]]:
        """Begin an item."""
        item: dict[str, Any]
        part: dict[str, Any]
        if call is not None:
            self.items.append({
                "type": "function_call", "id": new_id("fc_"), "call_id": call.get("id") or new_id("call_"),
                "name": call.get("function", {}).get("name", ""), "arguments": "", "status": "in_progress",
            })  # fmt: skip
            return [self._added(dict(self.items[-1]))]
        if kind == TEXT:
            item = {"type": "message", "id": new_id("msg_"), "role": "assistant", "status": "in_progress"}
            part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        else:
            item = {"type": "reasoning", "id": new_id("rs_"), "summary": [], "status": "in_progress"}
            part = {"type": "reasoning_text", "text": ""}
        self.items.append({**item, "content": [part]})
        return [self._added({**item, "content": []}),
                self._event("response.content_part.added", **self._place(), content_index=0, part=dict(part))]

    def _added(self, item: dict[str, Any]) -> dict[str, Any]:
        return self._event("response.output_item.added", output_index=len(self.items) - 1, item=item)

    def grown(self, kind: str, words: str) -> list[dict[str, Any]]:
        """Add to the last item."""
        item = self.items[-1]
        if "content" not in item:
            item["arguments"] += words
            return [self._event("response.function_call_arguments.delta", **self._place(), delta=words)]
        item["content"][0]["text"] += words
        return [self._event(f"{NAMES[kind]}.delta", **self._place(), content_index=0, delta=words, **_beside(kind))]

    def closed(self, whole: bool) -> list[dict[str, Any]]:
        """End the last item."""
        item, made = self.items[-1], []
        item["status"] = "completed" if whole else "incomplete"
        if "content" not in item:
            made.append(self._event("response.function_call_arguments.done", **self._place(), name=item["name"],
                                    arguments=item["arguments"]))
        else:
            part = item["content"][0]
            made.append(self._event(f"{NAMES[self.open]}.done", **self._place(), content_index=0, text=part["text"],
                                    **_beside(self.open)))
            made.append(self._event("response.content_part.done", **self._place(), content_index=0, part=part))
        return [*made, self._event("response.output_item.done", output_index=len(self.items) - 1, item=item)]

    def _place(self) -> dict[str, Any]:
        return {"item_id": self.items[-1]["id"], "output_index": len(self.items) - 1}

    def _event(self, kind: str, **more: Any) -> dict[str, Any]:
        self.count += 1
        return {"type": kind, "sequence_number": self.count - 1, **more}

    def _object(self, status: str, **more: Any) -> dict[str, Any]:
        body = self.body
        found = {
            "id": self.id, "object": "response", "created_at": self.created, "completed_at": None, "status": status,
            "model": self.model, "output": self.items if status not in ("in_progress", "failed") else [],
            "error": None, "incomplete_details": None, "instructions": body.get("instructions"),
            "max_output_tokens": body.get("max_output_tokens"), "metadata": body.get("metadata", {}),
            "parallel_tool_calls": body.get("parallel_tool_calls", True), "previous_response_id": None,
            "reasoning": {"effort": body.get("reasoning", {}).get("effort"), "summary": None}, "store": False,
            "temperature": body.get("temperature", 0.8), "top_p": body.get("top_p", 0.95),
            "text": body.get("text", {"format": {"type": "text"}}), "tool_choice": body.get("tool_choice", "auto"),
            "tools": body.get("tools", []), "truncation": "disabled", "usage": None,
        }  # fmt: skip
        return {**found, **more}


def _beside(kind: str) -> dict[str, Any]:
    return {"logprobs": []} if kind == TEXT else {}
