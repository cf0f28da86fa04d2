"""/completion: llama-server's own way to go on from a prompt."""

from __future__ import annotations

import asyncio

from llamafile.server import fields, generation, native
from llamafile.server.call import PING, Events, Json, event
from llamafile.server.errors import body as error_body
from llamafile.server.prompts import PROMPT, tokens
from llamafile.server.schema import integer, mapping, needing
from llamafile.server.work import Work
from llamafile.serving import Refused, Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from llamafile.server.call import Call
    from llamafile.serving import Request

BODY = needing(mapping(
    "A prompt and how to go on from it.",
    prompt=PROMPT, model=fields.OPENAI["model"], n=integer(1, fields.MOST_CHOICES), **fields.N_PREDICT,
    **fields.SAMPLING, **fields.GRAMMAR, **fields.ANSWERING,
), "prompt")  # fmt: skip


async def post(call: Call) -> Json | Events:
    """Answer one prompt or several, each once or `n_cmpl` times; more than one answer is a list."""
    return await answer(call, await asyncio.to_thread(_requests, call))


async def answer(call: Call, requests: list[Request]) -> Json | Events:
    """Have the requests answered, as a whole or as a stream."""
    body, work = call.body, Work(call, requests)
    if body.get("stream"):
        return Events(_events(call, work, requests))
    results = await work.results()
    answers = [native.end(call.served, request, result, index, body)
               for index, (request, result) in enumerate(zip(requests, results))]
    return Json(answers[0] if len(answers) == 1 else answers)


def _requests(call: Call) -> list[Request]:
    body = call.body
    prompts = tokens(call.served, body["prompt"])
    rule = generation.constraint(call.served, body)
    return generation.requests(call.served, prompts, body, choices=body.get("n_cmpl", body.get("n", 1)), rule=rule)


async def _events(call: Call, work: Work, requests: list[Request]) -> AsyncGenerator[bytes, None]:
    predicted = [0] * len(requests)
    try:
        async for index, item in work.pieces():
            if item is None:
                yield PING
            elif isinstance(item, Result):
                yield event(native.end(call.served, requests[index], item, index, call.body, streamed=True))
            else:
                predicted[index] += len(item.tokens)
                counts = {"tokens_predicted": predicted[index], "tokens_evaluated": len(requests[index].prompt)}
                yield event(native.picked(native.piece(item, index, counts, call.body), None))
    except Refused as wrong:
        yield event(error_body(wrong))
