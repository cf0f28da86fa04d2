"""/v1/embeddings: a row of numbers for each text, in OpenAI's form."""

from __future__ import annotations

from llamafile.server.call import Json
from llamafile.server.embedding import BODY as BODY
from llamafile.server.embedding import encoded, norm, normalised, rows
from llamafile.server.errors import refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llamafile.server.call import Call


async def post(call: Call) -> Json:
    """Answer with one row for each input."""
    if call.served.options.pooling == "none":
        raise refused(400, "Pooling type 'none' is not OAI compatible. Please use a different pooling type")
    results = await rows(call)
    data = [{"object": "embedding", "index": index, "embedding": encoded(normalised(result.embedding[0], norm(call)),
                                                                         call)}
            for index, result in enumerate(results)]
    count = sum(result.tokens_evaluated for result in results)
    return Json({"object": "list", "data": data, "model": call.body.get("model") or call.served.name,
                 "usage": {"prompt_tokens": count, "total_tokens": count}})
