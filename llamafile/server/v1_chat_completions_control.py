"""/v1/chat/completions/control: would end the thoughts of an answer under way, which this build cannot."""

from __future__ import annotations

from llamafile.server.errors import unsupported
from llamafile.server.schema import mapping, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from llamafile.server.call import Call

BODY = mapping("What to do with an answer under way.", id=text(most=200), action=text(most=40))


async def post(call: Call) -> NoReturn:
    """Say so."""
    raise unsupported("This build does not end thoughts before their time; cancel the request instead")
