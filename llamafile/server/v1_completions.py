"""/v1/completions: text goes on from text, in OpenAI's older form."""

from __future__ import annotations

import asyncio
import time

from llamafile.server import fields, generation, native
from llamafile.server.call import DONE, PING, Events, Json, event
from llamafile.server.chat import finish_reason
from llamafile.server.errors import body as error_body
from llamafile.server.errors import unsupported
from llamafile.server.openai_form import FINGERPRINT, new_id, usage_of_all
from llamafile.server.prompts import PROMPT, tokens
from llamafile.server.schema import boolean, either, integer, invalid, mapping, needing, text
from llamafile.server.work import Work
from llamafile.serving import Refused, Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from typing import Any

    from llamafile.server.call import Call
    from llamafile.serving import Request

BODY = needing(mapping(
    "A prompt and how to go on from it.",
    prompt=PROMPT, **fields.OPENAI, **fields.N_PREDICT, **fields.SAMPLING, **fields.GRAMMAR, **fields.ANSWERING,
    logprobs=either(integer(0, 100), boolean(), about="best tokens to report with each token"),
    echo=boolean("begin the answer with the prompt"), best_of=integer(1, fields.MOST_CHOICES), suffix=text(),
    response_format=fields.RESPONSE_FORMAT,
), "prompt")  # fmt: skip


async def post(call: Call) -> Json | Events:
    """Answer one prompt or several, each `n` times."""
    body = call.body
    if body.get("suffix"):
        raise unsupported("Text before a suffix is not written here; use /infill")
    if body.get("best_of", 1) > body.get("n", 1):
        raise unsupported("This server does not choose the best of several answers; leave best_of out")
    if body.get("echo") and _top(body) is not None:
        raise unsupported("Log-probabilities of a prompt are not computed; leave echo or logprobs out")
    if body.get("echo") and body.get("stream"):
        raise invalid("echo", "and stream do not go together")
    requests = await asyncio.to_thread(_requests, call)
    work, form = Work(call, requests), Form(call)
    if body.get("stream"):
        return Events(_events(form, work, len(requests)))
    results: list[Any] = await work.results()
    choices = []
    for index, (request, result) in enumerate(zip(requests, results)):
        before = native.text_of(call.served, request.prompt) if body.get("echo") else ""
        choices.append(form.choice(index, before + result.text, finish_reason(result.stop_type, []), result.probs))
    return Json({**form.outer(), "choices": choices, "usage": usage_of_all(results, form.n),
                 "timings": results[0].timings})


def _requests(call: Call) -> list[Request]:
    body = call.body
    prompts = tokens(call.served, body["prompt"])
    top = _top(body)
    more = {} if top is None else {"n_probs": max(1, top)}
    return generation.requests(call.served, prompts, {**body, **more}, choices=_n(body),
                               rule=generation.constraint(call.served, body))


def _n(body: dict[str, Any]) -> int:
    return body.get("n", body.get("n_cmpl", 1))


def _top(body: dict[str, Any]) -> int | None:
    """Return how many best tokens are asked for, None where no probabilities are."""
    wanted = body.get("logprobs", False)
    return None if wanted is False else int(wanted)


class Form:
    """The objects of one answer."""

    def __init__(self, call: Call) -> None:
        self.body, self.id, self.created = call.body, new_id("cmpl-"), int(time.time())
        self.model = call.body.get("model") or call.served.name
        self.n, self.top = _n(call.body), _top(call.body)
        self.offsets: dict[int, int] = {}

    def outer(self) -> dict[str, Any]:
        """Return what every object has."""
        return {"id": self.id, "object": "text_completion", "created": self.created, "model": self.model,
                "system_fingerprint": FINGERPRINT}

    def choice(self, index: int, words: str, finish: str | None, probs: Any) -> dict[str, Any]:
        """Return a choice, whole or a piece of it."""
        return {"text": words, "index": index, "finish_reason": finish, "logprobs": self._logprobs(index, probs)}

    def _logprobs(self, index: int, probs: list[dict[str, Any]] | None) -> dict[str, Any] | None:
        """Return OpenAI's four lists, and beside them llama-server's one."""
        if probs is None:
            return None
        key, best = ("prob", "top_probs") if probs and "prob" in probs[0] else ("logprob", "top_logprobs")
        top = self.body.get("n_probs", 0) if self.top is None else self.top
        found: dict[str, Any] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": [],
                                 "content": probs}
        at = self.offsets.get(index, 0)
        for each in probs:
            found["tokens"].append(each["token"])
            found["token_logprobs"].append(each[key])
            found["top_logprobs"].append({other["token"]: other[key] for other in each[best][:top]})
            found["text_offset"].append(at)
            at += len(each["token"])
        self.offsets[index] = at
        return found


async def _events(form: Form, work: Work, count: int) -> AsyncGenerator[bytes, None]:
    results: dict[int, Any] = {}
    with_usage = bool(form.body.get("stream_options", {}).get("include_usage"))
    try:
        item: Any
        async for index, item in work.pieces():
            if item is None:
                yield PING
            elif isinstance(item, Result):
                ended: Any = item
                results[index] = ended
                last = {"timings": ended.timings} if len(results) == count and not with_usage else {}
                choice = form.choice(index, ended.rest, finish_reason(ended.stop_type, []), None)
                yield event({**form.outer(), "choices": [choice], **last})
            else:
                more: dict[str, Any] = {} if item.progress is None else {"prompt_progress": item.progress}
                if form.body.get("timings_per_token"):
                    more["timings"] = item.timings()
                if item.text or item.probs is not None or more:
                    choice = form.choice(index, item.text, None, item.probs)
                    yield event({**form.outer(), "choices": [choice], **more})
        if with_usage:
            done = [results[index] for index in sorted(results)]
            yield event({**form.outer(), "choices": [], "usage": usage_of_all(done, form.n),
                         "timings": done[0].timings})
    except Refused as wrong:
        yield event(error_body(wrong))
    yield DONE
