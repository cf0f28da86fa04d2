"""/v1/rerank: needs a model with a ranking head, which no architecture of this build has."""

from __future__ import annotations

from llamafile.server.errors import unsupported
from llamafile.server.schema import INT32, integer, items, mapping, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from llamafile.server.call import Call

TEXTS: dict[str, Any] = items(text(), most=4096)
BODY = mapping("A question and the documents to rank by it.", query=text(), documents=TEXTS, texts=TEXTS,
               top_n=integer(0, INT32), model=text(most=1000))


async def post(call: Call) -> NoReturn:
    """Say that this model cannot."""
    raise unsupported(f"{call.served.name} is no ranking model; this build runs none")
