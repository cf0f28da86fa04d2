"""llama-server's own answers: a piece, the end, the settings that were in force, and the fields picked from them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llamafile.server.loading import Served
    from llamafile.serving import Delta, Request

_PLAIN = (
    "temperature", "dynatemp_range", "dynatemp_exponent", "top_k", "top_p", "min_p", "top_n_sigma", "xtc_probability",
    "xtc_threshold", "typical_p", "repeat_last_n", "repeat_penalty", "presence_penalty", "frequency_penalty",
    "dry_multiplier", "dry_base", "dry_allowed_length", "dry_penalty_last_n", "mirostat", "mirostat_tau",
    "mirostat_eta", "min_keep",
)  # fmt: skip


def settings(served: Served, request: Request, body: dict[str, Any]) -> dict[str, Any]:
    """Return generation_settings: what a request's answer was made with."""
    from llamafile.sampling.params import STEPS, letters

    params: Any = request.params
    names = {letter: name for name, letter in STEPS.items()}
    return {
        "n_predict": request.n_predict, "max_tokens": request.n_predict,
        "seed": params.seed & 0xFFFFFFFF,
        **{name: getattr(params, name) for name in _PLAIN},
        "dry_sequence_breakers": [*params.dry_sequence_breakers], "stop": list(request.stop),
        "n_keep": request.n_keep, "n_discard": 0, "ignore_eos": bool(params.ignore_eos),
        "stream": bool(body.get("stream")), "logit_bias": biases(params.logit_bias), "n_probs": request.n_probs,
        "samplers": [names[letter] for letter in letters(params.samplers)],
        "grammar": body.get("grammar", ""), "grammar_lazy": False, "grammar_triggers": [], "preserved_tokens": [],
        "chat_format": "Content-only", "reasoning_format": body.get("reasoning_format", "none"),
        "reasoning_in_content": False, "thinking_forced_open": False, **speculation(served, request),
        "timings_per_token": body.get("timings_per_token", False),
        "post_sampling_probs": request.post_sampling_probs, "lora": [],
    }  # fmt: skip


def speculation(served: Served, request: Request) -> dict[str, Any]:
    """Return how many tokens are guessed ahead for a request: its own fields, else those of the flags."""
    wishes: Any = served.wishes
    n_max = wishes.n_max if request.draft_max is None else request.draft_max
    n_min = wishes.n_min if request.draft_min is None else request.draft_min
    p_min = wishes.p_min if request.draft_p_min is None else request.draft_p_min
    return {"speculative.n_max": n_max if wishes.any else 0, "speculative.n_min": n_min, "speculative.p_min": p_min}


def biases(given: Any) -> list[dict[str, Any]]:
    """Return the biases as objects; a ban is null, since JSON has no infinity."""
    pairs = given.items() if isinstance(given, dict) else given
    return [{"token": token, "bias": None if bias is False or bias == float("-inf") else bias}
            for token, bias in pairs]


def piece(delta: Delta, index: int, counts: dict[str, int], body: dict[str, Any]) -> dict[str, Any]:
    """Return an event of a stream."""
    found: dict[str, Any] = {"index": index, "content": delta.text, "tokens": delta.tokens, "stop": False,
                             "id_slot": body.get("id_slot", -1), **counts}
    if delta.probs is not None:
        found["completion_probabilities"] = delta.probs
    if delta.progress is not None:
        found["prompt_progress"] = delta.progress
    if body.get("timings_per_token"):
        found["timings"] = delta.timings()
    return found


def end(served: Served, request: Request, result: Any, index: int, body: dict[str, Any], *,
        streamed: bool = False) -> dict[str, Any]:
    """Return a whole answer, or the last event of a stream, which has only the rest of the text."""
    found = {
        "index": index, "content": result.rest if streamed else result.text,
        "tokens": result.tokens if body.get("return_tokens") and not streamed else [], "id_slot": result.id_slot,
        "stop": True, "model": body.get("model") or served.name, "tokens_predicted": result.tokens_predicted,
        "tokens_evaluated": result.tokens_evaluated, "generation_settings": settings(served, request, body),
        "prompt": text_of(served, request.prompt), "has_new_line": "\n" in result.text,
        "truncated": result.truncated, "stop_type": "none" if result.stop_type == "cancel" else result.stop_type,
        "stopping_word": result.stopping_word, "tokens_cached": result.tokens_evaluated + result.tokens_predicted - 1,
        "timings": result.timings,
    }  # fmt: skip
    if result.probs is not None and not streamed:
        found["completion_probabilities"] = result.probs
    return picked(found, body.get("response_fields"))


def text_of(served: Served, ids: list[int]) -> str:
    """Return the prompt as text, control tokens written out."""
    return served.tokenizer.detokenize(ids, special=True).decode("utf-8", "replace")


def picked(answer: dict[str, Any], fields: list[str] | None) -> dict[str, Any]:
    """Return only some fields, a/b under the name b; all of them where nothing is asked for."""
    if not fields:
        return answer
    found = {}
    for path in fields:
        value: Any = answer
        for name in path.split("/"):
            value = value.get(name) if isinstance(value, dict) else None
        if value is not None:
            found[path.rpartition("/")[2]] = value
    return found


