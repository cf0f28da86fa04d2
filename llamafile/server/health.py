"""/health: 200 once the model has made a forward pass, 503 before and while the server ends."""

from __future__ import annotations

from llamafile.server.call import Json
from llamafile.server.errors import refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llamafile.server.call import Call


async def get(call: Call) -> Json:
    """Say whether the server can answer."""
    if not call.served.ready:
        raise refused(503, "Loading model")
    return Json({"status": "ok"})
