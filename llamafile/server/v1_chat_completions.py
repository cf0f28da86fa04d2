"""/v1/chat/completions: the next message of a conversation, in OpenAI's form."""

from __future__ import annotations

import asyncio
import time

from llamafile.server import fields
from llamafile.server.call import DONE, PING, Events, Json, event
from llamafile.server.chat import Answer, Chat, finish_reason
from llamafile.server.errors import body as error_body
from llamafile.server.messages import MESSAGES, TEMPLATE, TOOLS
from llamafile.server.openai_form import FINGERPRINT, logprobs, new_id, usage
from llamafile.server.schema import INT32, boolean, integer, mapping, needing
from llamafile.server.work import Work
from llamafile.serving import Delta, Refused, Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from typing import Any

    from llamafile.server.call import Call

MOST_TOP = 20  # OpenAI's bound; n_probs knows none

BODY = needing(mapping(
    "A conversation and how to go on with it.",
    messages=MESSAGES, **fields.OPENAI, **TOOLS, **TEMPLATE, response_format=fields.RESPONSE_FORMAT,
    max_completion_tokens=integer(-2, INT32, "tokens to write at most"), **fields.N_PREDICT,
    logprobs=boolean("log-probabilities of the tokens"), top_logprobs=integer(0, MOST_TOP),
    **fields.SAMPLING, **fields.GRAMMAR, **fields.ANSWERING,
), "messages")  # fmt: skip


async def post(call: Call) -> Json | Events:
    """Answer a conversation, `n` times."""
    chat = await asyncio.to_thread(Chat, call.served, call.body)
    requests = await asyncio.to_thread(chat.requests)
    work = Work(call, requests)
    form = Form(call)
    if call.body.get("stream"):
        return Events(_events(form, chat, work, len(requests)))
    results: list[Any] = await work.results()
    choices = []
    for index, result in enumerate(results):
        answer = chat.answer()
        answer.feed(result.text)
        answer.close()
        choices.append(form.whole(index, answer, result))
    return Json({**form.outer("chat.completion"), "choices": choices, "usage": usage(results),
                 "timings": results[0].timings})


class Form:
    """The objects of one answer."""

    def __init__(self, call: Call) -> None:
        self.body, self.id, self.created = call.body, new_id("chatcmpl-"), int(time.time())
        self.model = call.body.get("model") or call.served.name
        # n_probs, llama-server's own way to ask, has no bound.
        self.top = self.body.get("top_logprobs", 0) if self.body.get("logprobs") else self.body.get("n_probs", 0)

    def outer(self, kind: str) -> dict[str, Any]:
        """Return what every object has."""
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model,
                "system_fingerprint": FINGERPRINT}

    def whole(self, index: int, answer: Answer, result: Any) -> dict[str, Any]:
        """Return a choice of an answer that is not streamed."""
        found: dict[str, Any] = {"index": index, "message": answer.message,
                                 "finish_reason": finish_reason(result.stop_type, answer.calls)}
        if result.probs is not None:
            found["logprobs"] = logprobs(result.probs, self.top)
        return found

    def chunk(self, index: int, delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
        """Return an event of a stream; `more` stands beside the choice."""
        probs = more.pop("probs", None)
        choice: dict[str, Any] = {"index": index, "delta": delta, "finish_reason": finish}
        if probs is not None:
            choice["logprobs"] = logprobs(probs, self.top)
        return {**self.outer("chat.completion.chunk"), "choices": [choice], **more}


async def _events(form: Form, chat: Chat, work: Work, count: int) -> AsyncGenerator[bytes, None]:
    answers = [chat.answer() for _ in range(count)]
    begun: set[int] = set()
    results: dict[int, Any] = {}
    try:
        item: Any
        async for index, item in work.pieces():
            if item is None:
                yield PING
                continue
            if index not in begun:
                begun.add(index)
                yield event(form.chunk(index, {"role": "assistant", "content": None}))
            for chunk in _chunks(form, answers[index], index, item):
                yield event(chunk)
            if isinstance(item, Result):
                ended: Any = item
                results[index] = ended
                last = {} if _wants_usage(form.body) or len(results) < count else {"timings": ended.timings}
                yield event(form.chunk(index, {}, finish_reason(ended.stop_type, answers[index].calls), **last))
        if _wants_usage(form.body):
            done = [results[index] for index in sorted(results)]
            yield event({**form.outer("chat.completion.chunk"), "choices": [], "usage": usage(done),
                         "timings": done[0].timings})
    except Refused as wrong:
        yield event(error_body(wrong))
    yield DONE


def _chunks(form: Form, answer: Answer, index: int, item: Any) -> list[dict[str, Any]]:
    """Return the chunks that a piece of the answer makes."""
    if not isinstance(item, Delta):
        return [form.chunk(index, delta) for delta in [*answer.feed(item.rest), *answer.close()]]
    more: dict[str, Any] = {}
    if item.progress is not None:
        more["prompt_progress"] = item.progress
    if form.body.get("timings_per_token"):
        more["timings"] = item.timings()
    if item.probs is not None:
        more["probs"] = item.probs
    deltas = answer.feed(item.text)
    if not deltas and more:
        deltas = [{}]
    return [form.chunk(index, delta, **(more if place == 0 else {})) for place, delta in enumerate(deltas)]


def _wants_usage(body: dict[str, Any]) -> bool:
    return bool(body.get("stream_options", {}).get("include_usage"))
