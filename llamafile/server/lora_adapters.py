"""/lora-adapters: the adapters there are, none in this build."""

from __future__ import annotations

from llamafile.server.call import Json
from llamafile.server.errors import unsupported
from llamafile.server.schema import INT32, integer, items, mapping, number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llamafile.server.call import Call

BODY = items(mapping(id=integer(0, INT32), scale=number()), "The scale of each adapter.")


async def get(call: Call) -> Json:
    """List them."""
    return Json([])


async def post(call: Call) -> Json:
    """Set their scales."""
    if call.body:
        raise unsupported("This build has no adapters")
    return Json({"success": True})
