"""What chat endpoints share: a conversation becomes a prompt, and the answer's text becomes parts of a message."""

from __future__ import annotations

from llamafile import tool_calls
from llamafile.server import generation
from llamafile.server.messages import for_template
from llamafile.server.schema import invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llamafile.server.loading import Served
    from llamafile.serving import Request


class Chat:
    """A conversation ready to be answered: `prompt` as text, `ids` as tokens, and the plan for tool calls."""

    def __init__(self, served: Served, body: dict[str, Any]) -> None:
        """Render a body in OpenAI's form; raises Refused, or LlamafileError for what the template refuses."""
        self.served, self.body = served, body
        messages = for_template(body["messages"])
        self.prefill = _prefill(messages)
        self.response = generation.response(body)
        self.plan = tool_calls.plan(
            served.template, body.get("tools"), body.get("tool_choice", "auto"), body.get("parallel_tool_calls", True),
            reasoning_format=body.get("reasoning_format", served.options.reasoning_format),
            response=self.response and self.response[:2],
        )  # fmt: skip
        self.prompt = self._render(self.plan.messages(messages)) + self.prefill
        self.ids = _ids(served, self.prompt)

    def _render(self, messages: list[dict[str, Any]]) -> str:
        from llamafile import chat_template

        served, body = self.served, self.body
        effort = {"reasoning_effort": body["reasoning_effort"]} if "reasoning_effort" in body else {}
        extra = {**served.template_variables, **effort, **body.get("chat_template_kwargs", {})}
        for name in ("messages", "tools", "bos_token", "eos_token", "documents", "add_generation_prompt"):
            extra.pop(name, None)
        return chat_template.render(
            served.template, messages, bos=served.written(served.tokenizer.bos), tools=self.plan.tools,
            eos=served.written(served.tokenizer.eos), extra=extra,
            add_generation_prompt=body.get("add_generation_prompt", True),
        )  # fmt: skip

    def requests(self) -> list[Request]:
        """Return what the scheduler is to do, one request for each of `n` answers."""
        body = self.body
        field = self.response[2] if self.response else "tools"
        with generation.naming(field):
            rule = self.plan.constraint(self.served.tokenizer, self.prompt)
        rule = self.plan.within(self.served.rule if rule is None else rule, self.served.tokenizer, self.prompt,
                                *self._budget())
        found = generation.requests(self.served, [self.ids], {**body, **_probs(body)}, rule=rule,
                                    choices=body.get("n", body.get("n_cmpl", 1)))
        for request in found:
            request.special = request.special or self.plan.special
        return found

    def _budget(self) -> tuple[int, str]:
        """Return how many tokens may be thought, and what is said where they do not do."""
        body, options = self.body, self.served.options
        tokens = body.get("reasoning_budget_tokens", body.get("thinking_budget_tokens", options.reasoning_budget))
        return tokens, body.get("reasoning_budget_message", options.reasoning_budget_message)

    def answer(self) -> Answer:
        """Return what takes one answer apart."""
        return Answer(self.plan.parser(self.prompt))


class Answer:
    """Takes the text of an answer as it comes and keeps the message that it adds up to."""

    def __init__(self, parser: Any) -> None:
        self.parser = parser
        self.content = ""
        self.reasoning = ""
        self.calls: list[dict[str, Any]] = []

    def feed(self, text: str) -> list[dict[str, Any]]:
        """Return the deltas, in OpenAI's form, that more text makes."""
        return self._kept(self.parser.feed(text)) if text else []

    def close(self) -> list[dict[str, Any]]:
        """Return the deltas that were held back until the end was known."""
        return self._kept(self.parser.close())

    def _kept(self, deltas: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for delta in deltas:
            self.content += delta.get("content") or ""
            self.reasoning += delta.get("reasoning_content") or ""
            for call in delta.get("tool_calls", ()):
                self._call(call)
        return deltas

    def _call(self, delta: dict[str, Any]) -> None:
        if delta["index"] == len(self.calls):
            function = {"name": "", "arguments": ""}
            self.calls.append({"type": "function", "id": delta.get("id", ""), "function": function})
        function = self.calls[delta["index"]]["function"]
        for name in ("name", "arguments"):
            function[name] += delta.get("function", {}).get(name) or ""

    @property
    def message(self) -> dict[str, Any]:
        """The message so far."""
        found: dict[str, Any] = {"role": "assistant", "content": self.content or (None if self.calls else "")}
        if self.reasoning:
            found["reasoning_content"] = self.reasoning
        if self.calls:
            found["tool_calls"] = self.calls
        return found


def finish_reason(stop_type: str, calls: list[dict[str, Any]]) -> str:
    """Return OpenAI's word for the end of an answer."""
    if stop_type not in ("eos", "word"):
        return "length"
    return "tool_calls" if calls else "stop"


def _prefill(messages: list[dict[str, Any]]) -> str:
    """Take off a last message of the assistant, from which the answer goes on, and return its text."""
    if not messages or messages[-1]["role"] != "assistant" or messages[-1].get("tool_calls"):
        return ""
    text = messages.pop()["content"]
    if not messages:
        raise invalid("messages", "has nothing but the beginning of an answer")
    if messages[-1]["role"] == "assistant" and not messages[-1].get("tool_calls"):
        raise invalid("messages", "ends with two messages of the assistant; one can be gone on from")
    return text


def _ids(served: Served, prompt: str) -> list[int]:
    bos = served.written(served.tokenizer.bos)
    ids = served.tokenizer.encode(prompt, add_special=not (bos and prompt.startswith(bos)))
    if not ids:
        raise invalid("messages", "become an empty prompt by this chat template")
    return ids


def _probs(body: dict[str, Any]) -> dict[str, Any]:
    """OpenAI asks for probabilities by two fields."""
    if body.get("logprobs"):
        return {"n_probs": max(1, body.get("top_logprobs", 0))}
    return {}
