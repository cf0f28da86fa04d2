"""/v1/messages/count_tokens: how many tokens a conversation is, in Anthropic's form."""

from __future__ import annotations

import asyncio

from llamafile.server.call import Json
from llamafile.server.chat import Chat
from llamafile.server.schema import mapping, needing
from llamafile.server.v1_messages import CONVERSATION, as_chat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llamafile.server.call import Call

BODY = needing(mapping("A conversation.", **CONVERSATION), "messages")


async def post(call: Call) -> Json:
    """Count."""
    chat = await asyncio.to_thread(Chat, call.served, as_chat(call.body))
    return Json({"input_tokens": len(chat.ids)})
