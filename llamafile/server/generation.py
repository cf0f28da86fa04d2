"""From the fields of a request to what the scheduler takes: parameters, stops, a grammar, and one request an answer."""

from __future__ import annotations

import contextlib

from llamafile.errors import LlamafileError
from llamafile.sampling import Params
from llamafile.server.errors import refused
from llamafile.server.schema import invalid
from llamafile.serving import Refused, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from llamafile.server.loading import Served


def params(served: Served, body: dict[str, Any]) -> Params:
    """Return the sampling parameters: the request's, else those of the flags; raises Refused naming the field."""
    fields = dict(served.defaults)
    fields.update((name, body[name]) for name in Params.__slots__ if name in body)
    fields["seed"] = fields["seed"] if fields["seed"] == -1 else fields["seed"] & 0xFFFFFFFF
    if "logit_bias" in body:
        fields["logit_bias"] = logit_bias(served, body["logit_bias"])
    found = Params(**fields)
    try:
        found.check()
    except LlamafileError as wrong:
        raise refused(400, str(wrong).removeprefix("--")) from None
    return found


def logit_bias(served: Served, given: Any) -> list[tuple[int, float | bool]]:
    """Return (token, bias) pairs of a list of pairs or a map; a text stands for each of its tokens."""
    pairs = given.items() if isinstance(given, dict) else given
    found: list[tuple[int, float | bool]] = []
    for what, bias in pairs:
        if bias is True or not isinstance(bias, (int, float)):
            raise invalid("logit_bias", f"the bias of {str(what)[:40]!r} is neither a number nor false")
        if isinstance(what, str) and not what.lstrip("-").isdecimal():
            found += [(id, bias) for id in served.tokenizer.encode(what, add_special=False)]
            continue
        token = int(what)
        if (isinstance(what, float) and what != token) or not 0 <= token < served.model.n_vocab:
            raise invalid("logit_bias", f"there is no token {what}; the vocabulary ends at {served.model.n_vocab - 1}")
        found.append((token, bias))
    return found


def n_predict(served: Served, body: dict[str, Any]) -> int:
    """Return the most tokens to write: by any of the names clients use, else by -n."""
    for name in ("max_completion_tokens", "max_tokens", "n_predict"):
        if name in body:
            return body[name]
    return served.options.n_predict


def stops(body: dict[str, Any]) -> tuple[str, ...]:
    """Return the texts that end the answer."""
    given = body.get("stop", ())
    return tuple(text for text in ([given] if isinstance(given, str) else given) if text)


def response(body: dict[str, Any]) -> tuple[str, Any, str] | None:
    """Return (kind, text) for grammar.compile of what an answer must follow, and the field's name; None without."""
    wishes = [name for name in ("grammar", "json_schema") if body.get(name, "") not in ("", {})]
    if len(wishes) > 1:
        raise invalid("grammar", "and json_schema cannot both be followed; give one")
    if wishes:
        return "gbnf" if wishes[0] == "grammar" else "json_schema", body[wishes[0]], wishes[0]
    form = body.get("response_format", {})
    kind = form.get("type", "text")
    if kind == "text":
        return None
    schema = form.get("schema") if kind == "json_object" else form.get("json_schema", {}).get("schema")
    if schema is None and kind == "json_schema":
        raise invalid("response_format.json_schema.schema", "is missing")
    return "json_schema", {"type": "object"} if schema is None else schema, "response_format"


def constraint(served: Served, body: dict[str, Any]) -> Any:
    """Return the Grammar that the answer follows, or None; raises Refused for one that cannot be followed."""
    wanted = response(body)
    if wanted is None:
        return None
    from llamafile import grammar

    with naming(wanted[2]):
        return grammar.compile(*wanted[:2], served.tokenizer)


@contextlib.contextmanager
def naming(field: str) -> Iterator[None]:
    """What is wrong with a grammar is said about the field that it came in."""
    try:
        yield
    except Refused:
        raise
    except LlamafileError as wrong:
        raise invalid(field, str(wrong)) from None


def requests(served: Served, prompts: list[list[int]], body: dict[str, Any], *, choices: int = 1,
             rule: Any = None) -> list[Request]:
    """Return a request for each answer, those to one prompt side by side; each further one has the next seed."""
    common = {
        "n_predict": n_predict(served, body), "stop": stops(body), "n_keep": body.get("n_keep", served.options.n_keep),
        "context_shift": body.get("context_shift", shifts(served)), "n_probs": body.get("n_probs", 0),
        "post_sampling_probs": body.get("post_sampling_probs", False),
        "cache_prompt": body.get("cache_prompt", served.options.cache_prompt), "id_slot": body.get("id_slot", -1),
        "t_max_predict_ms": max(0, body.get("t_max_predict_ms", 0)), "special": served.options.special,
        "draft_max": body.get("speculative.n_max"), "draft_min": body.get("speculative.n_min"),
        "draft_p_min": body.get("speculative.p_min"),
        "return_progress": body.get("return_progress", False), "constraint": served.rule if rule is None else rule,
    }  # fmt: skip
    if body.get("lora"):
        raise refused(501, "This build has no adapters; leave lora out")
    first = params(served, body)
    found = []
    for prompt in prompts:
        for index in range(choices):
            mine = first
            if index and first.seed != -1:
                mine = Params(**{name: getattr(first, name) for name in Params.__slots__})
                mine.seed = (first.seed + index) & 0xFFFFFFFF
            found.append(Request(prompt, mine, **common))
    return found


def shifts(served: Served) -> bool:
    """Whether a full context shifts: only where --context-shift asks for it, since a server should rather say so."""
    return "context_shift" in served.options.given and served.options.context_shift
