"""/detokenize: the text of tokens."""

from __future__ import annotations

from llamafile.server.call import Json
from llamafile.server.schema import INT32, integer, items, mapping, needing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llamafile.server.call import Call

BODY = needing(mapping("Tokens.", tokens=items(integer(0, INT32))), "tokens")


async def post(call: Call) -> Json:
    """Answer with the text, in which control tokens are written out; ids that are none are left out."""
    data = call.served.tokenizer.detokenize(call.body["tokens"], special=True)
    return Json({"content": data.decode("utf-8", "replace")})
