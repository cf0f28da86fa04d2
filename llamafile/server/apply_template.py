"""/apply-template: the prompt that a conversation becomes."""

from __future__ import annotations

import asyncio

from llamafile.server.call import Json
from llamafile.server.chat import Chat
from llamafile.server.v1_chat_completions import BODY as BODY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llamafile.server.call import Call


async def post(call: Call) -> Json:
    """Answer with the prompt as text."""
    chat = await asyncio.to_thread(Chat, call.served, call.body)
    return Json({"prompt": chat.prompt})
