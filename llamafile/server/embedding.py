"""/embedding: what the model makes of a text, a row of numbers for each text or each token, in llama-server's form."""

from __future__ import annotations

import asyncio

from llamafile.server.call import Json
from llamafile.server.errors import refused
from llamafile.server.prompts import PROMPT, tokens
from llamafile.server.schema import choice, integer, invalid, mapping, text
from llamafile.server.work import Work
from llamafile.serving import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llamafile.server.call import Call
    from llamafile.server.loading import Served

FIELDS: dict[str, Any] = {
    "input": PROMPT, "content": PROMPT, "model": text(most=1000), "user": text(),
    "embd_normalize": integer(-1, 100, "the norm, as by --embd-normalize"),
    "encoding_format": choice("float", "base64"), "dimensions": integer(1, 1 << 20),
}  # fmt: skip
BODY = mapping("A text, tokens, or a list of them, as `input` or `content`.", **FIELDS)
LARGEST = 32760  # what norm 0 makes of the largest number


async def post(call: Call) -> Json:
    """Answer with the rows of each input."""
    results = await rows(call)
    pooling = call.served.options.pooling
    return Json([
        {"index": index, "embedding": [encoded(normalised(row, -1 if pooling == "none" else norm(call)), call)
                                       for row in result.embedding]}
        for index, result in enumerate(results)
    ])  # fmt: skip


async def rows(call: Call) -> list[Any]:
    """Return the Result of each input."""
    body = call.body
    field = "input" if "input" in body else "content"
    if field not in body:
        raise invalid("input", "is missing")
    if "dimensions" in body and body["dimensions"] != width(call.served):
        raise refused(501, f"This model's embeddings have {width(call.served)} dimensions and cannot be cut")
    prompts = await asyncio.to_thread(tokens, call.served, body[field], field)
    requests = [Request(prompt, kind="embedding", pooling=call.served.options.pooling) for prompt in prompts]
    return await Work(call, requests).results()


def width(served: Served) -> int:
    """Return the numbers in a row."""
    file = served.model.file
    return file.integer(f"{served.model.architecture}.embedding_length", 0, 0, 1 << 31)


def norm(call: Call) -> int:
    """Return the norm that is asked for."""
    return call.body.get("embd_normalize", call.served.options.embd_normalize)


def normalised(row: list[float], norm: int) -> list[float]:
    """Return the row divided by its norm: -1 none, 0 the largest becomes 32760, else the p-norm; zeros stay."""
    if norm < 0:
        return row
    if norm == 0:
        length = max(map(abs, row), default=0.0) / LARGEST
    elif norm == 2:
        length = sum(x * x for x in row) ** 0.5
    else:
        length = sum(abs(x) ** norm for x in row) ** (1.0 / norm)
    return [x / length for x in row] if length > 0 else row


def encoded(row: list[float], call: Call) -> Any:
    """Return the row as it is, or its f32 bytes in base64."""
    if call.body.get("encoding_format") != "base64":
        return row
    import struct
    from binascii import b2a_base64

    return b2a_base64(struct.pack(f"<{len(row)}f", *row), newline=False).decode()
