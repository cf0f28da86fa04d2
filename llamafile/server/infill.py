"""/infill: what belongs between a prefix and a suffix, for models that were trained to say it."""

from __future__ import annotations

import asyncio

from llamafile.server import completion, fields, generation
from llamafile.server.errors import unsupported
from llamafile.server.schema import items, mapping, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llamafile.server.call import Call, Events, Json
    from llamafile.server.loading import Served

EXTRA = mapping("a file that helps", filename=text(most=4096), text=text())
BODY = mapping(
    "Text before and after what is wanted.",
    input_prefix=text(), input_suffix=text(), input_extra=items(EXTRA, most=1024), prompt=text(),
    model=fields.OPENAI["model"], **fields.N_PREDICT, **fields.SAMPLING, **fields.GRAMMAR, **fields.ANSWERING,
)  # fmt: skip
REPOSITORY, UNNAMED = "myproject\n", "filename"


async def post(call: Call) -> Json | Events:
    """Answer as /completion does."""
    tokenizer = call.served.tokenizer
    missing = [name for name in ("fim_pre", "fim_suf", "fim_mid") if getattr(tokenizer, name) is None]
    if missing:
        raise unsupported(f"{call.served.name} was not trained to fill in: it has no tokens {', '.join(missing)}")
    requests = await asyncio.to_thread(_requests, call)
    return await completion.answer(call, requests)


def _requests(call: Call) -> list[Any]:
    rule = generation.constraint(call.served, call.body)
    return generation.requests(call.served, [_prompt(call.served, call.body)], call.body, rule=rule,
                               choices=call.body.get("n_cmpl", 1))


def _prompt(served: Served, body: dict[str, Any]) -> list[int]:
    """Return the tokens: other files, then prefix, suffix, and the place where the model goes on.

    A batch's worth of tokens is for prefix and suffix, three quarters of it for the end of the prefix; what remains
    of the context, less what is to be written, is for the other files, of which the last ones are kept.
    """
    tokenizer, n_batch = served.tokenizer, served.options.n_batch
    n_ctx = served.scheduler.n_ctx
    budget = min(n_batch, n_ctx // 2)

    def ids(words: str) -> list[int]:
        return tokenizer.encode(words, add_special=False, parse_special=False)

    prefix, suffix, begun = ids(body.get("input_prefix", "")), ids(body.get("input_suffix", "")), ids(
        body.get("prompt", ""))
    begun = begun[-budget // 4 :] if begun else []
    suffix = suffix[: max(0, budget // 4 - 2 - len(begun))]
    prefix = prefix[-max(1, 3 * (budget // 4) - 3) :] if prefix else []
    room = n_ctx - len(prefix) - len(suffix) - len(begun) - 4 - max(0, generation.n_predict(served, body))
    extra = _extra(tokenizer, body.get("input_extra", []), ids)
    extra = extra[len(extra) - min(len(extra), max(0, room)) :]
    before, after = [tokenizer.fim_pre, *prefix], [tokenizer.fim_suf, *suffix]
    parts = [*after, *before] if served.options.spm_infill else [*before, *after]
    start = [tokenizer.bos] if tokenizer.add_bos and tokenizer.bos is not None else []
    return [*start, *extra, *parts, tokenizer.fim_mid, *begun]


def _extra(tokenizer: Any, files: list[dict[str, str]], ids: Any) -> list[int]:
    found: list[int] = []
    if tokenizer.fim_rep is not None and files:
        found += [tokenizer.fim_rep, *ids(REPOSITORY)]
    for index, file in enumerate(files):
        name = file.get("filename", f"{UNNAMED}{index}")
        if tokenizer.fim_sep is not None:
            found += [tokenizer.fim_sep, *ids(name + "\n")]
        else:
            found += ids(f"\n\n--- {name} ---\n\n")
        found += ids(file.get("text", ""))
    if tokenizer.fim_sep is not None and files:
        found += [tokenizer.fim_sep, *ids(UNNAMED + "\n")]
    return found
