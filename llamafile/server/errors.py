"""The body of an error answer, and what is said to clients about errors of other rooms."""

from __future__ import annotations

from llamafile.errors import LlamafileError
from llamafile.serving import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TYPES = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    405: "invalid_request_error", 408: "invalid_request_error", 413: "invalid_request_error",
    431: "invalid_request_error", 500: "server_error", 501: "not_supported_error", 503: "unavailable_error",
    505: "invalid_request_error",
}  # fmt: skip


def refused(code: int, message: str, **fields: object) -> Refused:
    """Return the refusal of that HTTP status, of the type that goes with it."""
    return Refused(code, TYPES[code], message, **fields)


def unsupported(message: str) -> Refused:
    """Return the refusal of something that this model or this build lacks."""
    return refused(501, message)


def of(problem: Exception) -> Refused:
    """Return what a client is told about an exception; one that is nobody's fault but ours is a 500."""
    if isinstance(problem, Refused):
        return problem
    if isinstance(problem, LlamafileError):
        return refused(400, str(problem))
    if isinstance(problem, MemoryError):
        return refused(503, "there is not enough memory for this request")
    return refused(500, "the server has made a mistake; its standard error stream says more")


def body(problem: Refused) -> dict[str, Any]:
    """The error in OpenAI's shape, with an outer `type` for Anthropic's clients, who look for one."""
    found = {"code": problem.code, "message": problem.message, "type": problem.type}
    found.update((name, value) for name, value in problem.fields.items() if name != "retry_after")
    return {"type": "error", "error": found}


def headers(problem: Refused) -> list[tuple[str, str]]:
    """Headers beside the body: when to try again."""
    if problem.code != 503:
        return []
    again = problem.fields.get("retry_after", 1)
    return [("retry-after", str(max(1, round(again if isinstance(again, (int, float)) else 1))))]
