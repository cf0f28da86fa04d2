"""The output of /v1/responses: items that grow, the events that tell of it, and the response that they add up to."""

from __future__ import annotations

import time

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
        self.body, self.answer = call.body, chat.answer()
        self.model = call.body.get("model") or call.served.name
        self.id, self.created = new_id("resp_"), int(time.time())
        self.items: list[dict[str, Any]] = []
        self.open: str = ""  # the kind of the item that still grows, with a call's number
        self.count = 0

    def begin(self) -> list[dict[str, Any]]:
        """Return the events that come first."""
        return [self._event(f"response.{word}", response=self._object("in_progress")) for word in
                ("created", "in_progress")]

    def feed(self, text: str) -> list[dict[str, Any]]:
        """Take more text."""
        return self._take(self.answer.feed(text))

    def finish(self, result: Any) -> list[dict[str, Any]]:
        """Take the end of the answer."""
        made = self._take(self.answer.close())
        if not self.items:
            made += self._switch("message")
        made += self._close("completed" if result.stop_type in ("eos", "word") else "incomplete")
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

    def _take(self, deltas: list[dict[str, Any]]) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = []
        for delta in deltas:
            if delta.get("reasoning_content"):
                made += self._grow("reasoning", "response.reasoning_text.delta", delta["reasoning_content"])
            if delta.get("content"):
                made += self._grow("message", "response.output_text.delta", delta["content"])
            for call in delta.get("tool_calls", ()):
                made += self._switch(f"call {call['index']}", call)
                words = call.get("function", {}).get("arguments")
                if words:
                    self.items[-1]["arguments"] += words
                    made.append(self._event("response.function_call_arguments.delta", **self._place(), delta=words))
        return made

    def _grow(self, kind: str, name: str, words: str) -> list[dict[str, Any]]:
        made = self._switch(kind)
        self.items[-1]["content"][0]["text"] += words
        more: dict[str, Any] = {"logprobs": []} if kind == "message" else {}
        return [*made, self._event(name, **self._place(), content_index=0, delta=words, **more)]

    def _switch(self, kind: str, call: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Open an item of a kind unless one is open, and close the one before."""
        if self.open == kind:
            return []
        made = self._close("completed")
        self.open = kind
        if call is not None:
            item: dict[str, Any] = {
                "type": "function_call", "id": new_id("fc_"), "call_id": call.get("id") or new_id("call_"),
                "name": call.get("function", {}).get("name", ""), "arguments": "", "status": "in_progress",
            }  # fmt: skip
            self.items.append(item)
            return [*made, self._event("response.output_item.added", output_index=len(self.items) - 1, item=dict(item))]
        if kind == "message":
            item = {"type": "message", "id": new_id("msg_"), "role": "assistant", "status": "in_progress"}
            part: dict[str, Any] = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        else:
            item = {"type": "reasoning", "id": new_id("rs_"), "summary": [], "status": "in_progress"}
            part = {"type": "reasoning_text", "text": ""}
        self.items.append({**item, "content": [part]})
        made.append(self._event("response.output_item.added", output_index=len(self.items) - 1,
                                item={**item, "content": []}))
        return [*made, self._event("response.content_part.added", **self._place(), content_index=0, part=dict(part))]

    def _close(self, status: str) -> list[dict[str, Any]]:
        """Close the open item, if there is one."""
        if not self.open:
            return []
        item, made = self.items[-1], []
        item["status"] = status
        if item["type"] == "function_call":
            made.append(self._event("response.function_call_arguments.done", **self._place(), name=item["name"],
                                    arguments=item["arguments"]))
        else:
            part = item["content"][0]
            name = "response.output_text.done" if item["type"] == "message" else "response.reasoning_text.done"
            more: dict[str, Any] = {"logprobs": []} if item["type"] == "message" else {}
            made.append(self._event(name, **self._place(), content_index=0, text=part["text"], **more))
            made.append(self._event("response.content_part.done", **self._place(), content_index=0, part=part))
        self.open = ""
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
