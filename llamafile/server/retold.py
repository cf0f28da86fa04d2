"""A chat's answer in another form than OpenAI's chunks: whole, or as a stream of events that say their type."""

from __future__ import annotations

import asyncio

from llamafile.server.call import PING, Events, Json, event
from llamafile.server.chat import Chat
from llamafile.server.work import Work
from llamafile.serving import Refused, Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from typing import Any

    from llamafile.server.call import Call


async def answer(call: Call, body: dict[str, Any], form: Callable[[Call, Chat], Any]) -> Json | Events:
    """Answer a body of /v1/chat/completions in a form that has begin, feed, finish and failed for events, and whole."""
    chat = await asyncio.to_thread(Chat, call.served, body)
    work = Work(call, await asyncio.to_thread(chat.requests))
    output = form(call, chat)
    if call.body.get("stream"):
        return Events(_events(output, work))
    result: Any = (await work.results())[0]
    output.feed(result.text)
    output.finish(result)
    return Json(output.whole(result))


async def _events(output: Any, work: Work) -> AsyncGenerator[bytes, None]:
    for each in output.begin():
        yield event(each, each["type"])
    try:
        item: Any
        async for _, item in work.pieces():
            if item is None:
                yield PING
                continue
            ended = isinstance(item, Result)
            made = output.feed(item.rest if ended else item.text)
            if ended:
                made += output.finish(item)
            for each in made:
                yield event(each, each["type"])
    except Refused as wrong:
        for each in output.failed(wrong):
            yield event(each, each["type"])
