"""/props: what the server is and what it does where a request does not say."""

from __future__ import annotations

import asyncio

from llamafile import VERSION
from llamafile.server import fields, generation, native
from llamafile.server.call import Json
from llamafile.server.errors import unsupported
from llamafile.server.schema import mapping
from llamafile.serving import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llamafile.server.call import Call

BODY = mapping("Fields of a request, to be those of all requests that do not say otherwise.",
               default_generation_settings=mapping(**fields.SAMPLING), **fields.SAMPLING)


async def get(call: Call) -> Json:
    """Describe the server."""
    served = call.served
    request = Request([0], generation.params(served, {}), n_predict=served.options.n_predict)
    return Json({
        "default_generation_settings": {
            "params": native.settings(served, request, {}), "n_ctx": served.scheduler.n_ctx,
        },
        "total_slots": served.scheduler.n_slots, "model_alias": served.name,
        "model_path": served.options.model or served.model.file.label,
        "modalities": {"vision": False, "audio": False}, "chat_template": served.own_template,
        "chat_template_caps": await asyncio.to_thread(_caps, served.own_template),
        "bos_token": served.written(served.tokenizer.bos), "eos_token": served.written(served.tokenizer.eos),
        "build_info": f"llamafile {VERSION}", "is_sleeping": False, "endpoint_slots": served.options.slots,
        "endpoint_props": served.options.props, "endpoint_metrics": served.options.metrics,
    })  # fmt: skip


def _caps(template: str) -> dict[str, bool]:
    """What a template makes use of, by the names of its variables."""
    return {
        "supports_system_role": "system" in template, "supports_tools": "tools" in template,
        "supports_tool_calls": "tool_calls" in template, "supports_reasoning": "reasoning_content" in template,
    }  # fmt: skip


async def post(call: Call) -> Json:
    """Change what requests that do not say otherwise get; all fields are checked before any changes."""
    served = call.served
    if not served.options.props:
        raise unsupported("This server does not change its properties. Start it with --props")
    wanted: dict[str, Any] = {**call.body.get("default_generation_settings", {}), **call.body}
    known = {name: value for name, value in wanted.items() if name in fields.SAMPLING}
    params = generation.params(served, known)
    served.defaults = {name: getattr(params, name) for name in type(params).__slots__}
    return Json({"success": True})
