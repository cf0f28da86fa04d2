"""/tokenize: a text's tokens."""

from __future__ import annotations

import asyncio

from llamafile.server.call import Json
from llamafile.server.prompts import MIXED
from llamafile.server.schema import boolean, either, mapping, needing, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llamafile.server.call import Call

BODY = needing(mapping(
    "A text, or texts and tokens mixed.", content=either(text(), MIXED),
    add_special=boolean("begin and end as a prompt does"), parse_special=boolean("make tokens of their names"),
    with_pieces=boolean("each token with its text"),
), "content")  # fmt: skip


async def post(call: Call) -> Json:
    """Answer with the tokens' ids, or with ids and pieces; a piece that is no UTF-8 is a list of its bytes."""
    return Json({"tokens": await asyncio.to_thread(_listed, call)})


def _listed(call: Call) -> list:
    tokens = _tokens(call)
    if not call.body.get("with_pieces"):
        return tokens
    piece = call.served.tokenizer.piece
    return [{"id": token, "piece": _piece(piece(token, True))} for token in tokens]


def _tokens(call: Call) -> list[int]:
    body, found = call.body, []
    content = body["content"]
    for index, part in enumerate(content if isinstance(content, list) else [content]):
        if isinstance(part, int):
            found.append(part)
        else:
            found += call.served.tokenizer.encode(
                part, add_special=body.get("add_special", False) and index == 0,
                parse_special=body.get("parse_special", True))  # fmt: skip
    return found


def _piece(data: bytes) -> Any:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return list(data)
