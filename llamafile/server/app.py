"""The table of endpoints and what stands before each: who may ask, whether the model is there, what went wrong."""

from __future__ import annotations

import sys

from llamafile.errors import LlamafileError
from llamafile.server import errors
from llamafile.server.call import Answer, Call, Json
from llamafile.server.exchange import Exchange, Gone
from llamafile.server.guard import PUBLIC, Guard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llamafile.server.loading import Served

# Paths → the module here that answers them, with a coroutine for each method; * is a part of a path.
ENDPOINTS = {
    "/health /v1/health": "health",
    "/metrics": "metrics",
    "/props": "props",
    "/slots /slots/*": "slots",
    "/models /v1/models": "v1_models",
    "/tokenize": "tokenize",
    "/detokenize": "detokenize",
    "/apply-template": "apply_template",
    "/completion /completions": "completion",
    "/v1/completions": "v1_completions",
    "/v1/chat/completions /chat/completions": "v1_chat_completions",
    "/v1/chat/completions/control": "v1_chat_completions_control",
    "/v1/chat/completions/input_tokens /chat/completions/input_tokens /v1/responses/input_tokens "
    "/responses/input_tokens": "input_tokens",
    "/v1/responses /responses": "v1_responses",
    "/v1/messages": "v1_messages",
    "/v1/messages/count_tokens": "v1_messages_count_tokens",
    "/embedding /embeddings": "embedding",
    "/v1/embeddings": "v1_embeddings",
    "/infill": "infill",
    "/rerank /reranking /v1/rerank /v1/reranking": "v1_rerank",
    "/lora-adapters": "lora_adapters",
    "/openapi.json": "openapi",
}
WITHOUT_MODEL = {"health", "openapi"}
METHODS = {"get": "GET", "post": "POST"}

PATHS = {path: module for paths, module in ENDPOINTS.items() for path in paths.split()}


class App:
    """Answers exchanges."""

    def __init__(self, served: Served, only_this_machine: bool) -> None:
        self.served, self.guard = served, Guard(served, only_this_machine)
        self.prefix, self.files = served.settings.prefix, served.files

    async def serve(self, exchange: Exchange) -> None:
        """Answer one request; whatever goes wrong is answered in one shape."""
        cors: list[tuple[str, str]] = []
        try:
            try:
                path = self._path(exchange.path)
                preflight = exchange.method == "OPTIONS" and "access-control-request-method" in exchange.headers
                file = self.files.find(path) if path not in PATHS and exchange.method in ("GET", "HEAD") else None
                self.guard.check(exchange.headers, preflight or file is not None or path in PUBLIC)
                cors = self.guard.cors(exchange.headers)
                if preflight:
                    answer: Any = Answer(status=204, headers=self.guard.preflight(exchange.headers))
                elif file is not None:
                    answer = self.files.answer(exchange, file)
                else:
                    answer = await self._answer(exchange, path)
            except LlamafileError as problem:
                answer = _refusal(errors.of(problem))
            await answer.send(exchange, cors)
        except Gone:
            pass
        except Exception as problem:
            _tell(problem)
            if not exchange.started:
                await _refusal(errors.of(problem)).send(exchange, cors)

    def _path(self, path: str) -> str:
        """Return the path without the prefix."""
        if not self.prefix:
            return path
        if not path.startswith(self.prefix + "/"):
            raise errors.refused(404, f"there is nothing at {path[:80]}; paths begin with {self.prefix}")
        return path[len(self.prefix) :]

    async def _answer(self, exchange: Exchange, path: str) -> Any:
        """Find the endpoint, which is loaded with its first request, and have it answer."""
        if self.served.draining:
            exchange.connection.closing = True
            raise errors.refused(503, "the server is ending")
        module, rest = find(path)
        if module is None:
            raise errors.refused(404, f"there is nothing at {path[:80]}; /openapi.json lists what there is")
        endpoint = load(module)
        method = "get" if exchange.method == "HEAD" else exchange.method.lower()
        if method not in METHODS or not hasattr(endpoint, method):
            allowed = ", ".join(METHODS[name] for name in METHODS if hasattr(endpoint, name))
            raise errors.refused(405, f"{exchange.method} is not for this path; use {allowed}", allow=allowed)
        if not self.served.ready and module not in WITHOUT_MODEL:
            raise errors.refused(503, "Loading model")
        call = Call(exchange, self.served, rest)
        if method == "post":
            await call.read(endpoint.BODY)
        return await getattr(endpoint, method)(call)


def find(path: str) -> tuple[str | None, str]:
    """Return the module that answers a path, and what stands for * in it."""
    if path in PATHS:
        return PATHS[path], ""
    head, _, last = path.rpartition("/")
    return PATHS.get(head + "/*"), last


def load(module: str) -> Any:
    """Return an endpoint's module."""
    name = f"llamafile.server.{module}"
    __import__(name)
    return sys.modules[name]


def _refusal(problem: errors.Refused) -> Json:
    headers = errors.headers(problem)
    allowed = problem.fields.pop("allow", None)
    if allowed is not None:
        headers.append(("allow", str(allowed)))
    return Json(errors.body(problem), problem.code, headers)


def _tell(problem: Exception) -> None:
    """Show a mistake of ours where its report belongs."""
    import traceback

    traceback.print_exception(problem, file=sys.stderr)
