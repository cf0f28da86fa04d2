"""/openapi.json: what the server answers, from the table of endpoints and the schemas that requests are checked by."""

from __future__ import annotations

from llamafile import VERSION
from llamafile.server.call import Json
from llamafile.server.schema import published

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llamafile.server.call import Call

_ERROR = {"type": "object", "required": ["error"], "properties": {"error": {
    "type": "object", "required": ["code", "message", "type"],
    "properties": {"code": {"type": "integer"}, "message": {"type": "string"}, "type": {"type": "string"}},
}}}  # fmt: skip
_QUERY = {"slots": {"get": ("fail_on_no_slot",), "post": ("action",)}}
_ACTIONS = ["save", "restore", "erase"]
_TEXT = {"metrics"}


async def get(call: Call) -> Json:
    """Answer with the document."""
    return Json(document(call.served.settings.prefix, bool(call.served.settings.keys)))


def document(prefix: str, keys: bool) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document."""
    from llamafile.server import app

    paths: dict[str, Any] = {}
    for path, module in app.PATHS.items():
        operations = {method: _operation(module, path, method) for method in app.METHODS
                      if hasattr(app.load(module), method) and _is_there(path, method, app.PATHS)}
        paths[path.replace("*", "{id}")] = operations
    found: dict[str, Any] = {
        "openapi": "3.1.0", "info": {"title": "llamafile", "version": VERSION}, "servers": [{"url": prefix or "/"}],
        "paths": paths, "components": {"schemas": {"Error": _ERROR, **_bodies()}},
    }  # fmt: skip
    if keys:
        found["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
        }
        found["security"] = [{"bearer": []}, {"key": []}]
    return found


def _is_there(path: str, method: str, paths: dict[str, str]) -> bool:
    """Where a path has a twin for its parts, what is posted is posted to one of them."""
    return method == "post" if path.endswith("*") else method == "get" or f"{path}/*" not in paths


def _bodies() -> dict[str, Any]:
    from llamafile.server import app

    return {name: published(app.load(name).BODY) for name in sorted(set(app.PATHS.values()))
            if hasattr(app.load(name), "BODY")}


def _operation(module: str, path: str, method: str) -> dict[str, Any]:
    from llamafile.server import app

    endpoint = app.load(module)
    kinds = {"text/plain": {"schema": {"type": "string"}}} if module in _TEXT else {
        "application/json": {"schema": {}}}
    if method == "post" and "stream" in _properties(endpoint.BODY):
        kinds["text/event-stream"] = {"schema": {}}  # of the whole text, or of each event: readers differ
    error = {"description": "what was wrong", "content": {"application/json": {
        "schema": {"$ref": "#/components/schemas/Error"}}}}
    about = (endpoint.__doc__ or "").partition(": ")[2].strip()
    found: dict[str, Any] = {
        "operationId": f"{method}{path.replace('/', '_').replace('*', 'id').replace('-', '_').replace('.', '_')}",
        "summary": (getattr(endpoint, method).__doc__ or about).strip(),
        "responses": {"200": {"description": about or "the answer", "content": kinds}, "default": error},
    }  # fmt: skip
    if method == "post":
        found["requestBody"] = {"required": True, "content": {
            "application/json": {"schema": {"$ref": f"#/components/schemas/{module}"}}}}
    parameters = [{"name": "id", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 0}}
                  ] if "*" in path else []
    for name in _QUERY.get(module, {}).get(method, ()) if method == "get" or parameters else ():
        schema = {"type": "string", "enum": _ACTIONS} if name == "action" else {"type": "string"}
        parameters.append({"name": name, "in": "query", "required": name == "action", "schema": schema})
    if parameters:
        found["parameters"] = parameters
    return found


def _properties(schema: dict[str, Any]) -> dict[str, Any]:
    return schema.get("properties", {})
