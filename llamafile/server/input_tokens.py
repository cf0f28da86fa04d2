"""…/input_tokens: how many tokens a conversation is, without an answer to it."""

from __future__ import annotations

import asyncio

from llamafile.server.call import Json
from llamafile.server.chat import Chat
from llamafile.server.schema import either
from llamafile.server.v1_chat_completions import BODY as CHAT
from llamafile.server.v1_responses import BODY as RESPONSES
from llamafile.server.v1_responses import as_chat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llamafile.server.call import Call

BODY = either(CHAT, RESPONSES)


async def post(call: Call) -> Json:
    """Count; the body is one for /v1/chat/completions or for /v1/responses."""
    body = call.body if "messages" in call.body else as_chat(call.body)
    chat = await asyncio.to_thread(Chat, call.served, body)
    return Json({"object": "response.input_tokens", "input_tokens": len(chat.ids)})
