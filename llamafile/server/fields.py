"""The fields that requests have in common: how tokens are chosen, and how an answer is made; checked and published."""

from __future__ import annotations

from llamafile.sampling.params import NUMBERS
from llamafile.server.schema import (
    INT32,
    INT64,
    anything,
    boolean,
    choice,
    either,
    integer,
    items,
    mapping,
    number,
    text,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOST_PROBS = 1 << 20
MOST_CHOICES = 64
MOST_STOPS = 256
MOST_GRAMMAR = 1 << 20

# Text in a request may be as long as its body; grammars may not, since they are compiled.
TOKEN_BIAS = either(number(), boolean())
LOGIT_BIAS = either(
    items(items(either(integer(0, INT32), text(), TOKEN_BIAS), least=2, most=2)),
    mapping(),
    about="[[token or text, bias], ...] or {token or text: bias}; false bans",
)


def _sampling_numbers() -> dict[str, Any]:
    """The bounds are those of the sampler's own table."""
    found = {}
    for name, (default, least, most, _) in NUMBERS.items():
        found[name] = integer(int(least), int(most)) if isinstance(default, int) else number(least, most)
    found["seed"] = integer(-INT64, INT64, "-1 takes a new one each time; only 32 bits count")
    found["n_probs"] = integer(0, MOST_PROBS, "best tokens to report with each token")
    found["dry_allowed_length"] = integer(0, INT32)
    return found


SAMPLING: dict[str, Any] = {
    **_sampling_numbers(),
    "samplers": either(items(text(most=40), most=32), text(most=400), about="names in order, or letters of edskypmxt"),
    "logit_bias": LOGIT_BIAS,
    "ignore_eos": boolean("go on when the model would end"),
    "dry_sequence_breakers": items(text(most=1000), most=100),
}

GRAMMAR: dict[str, Any] = {
    "grammar": text("a GBNF grammar that the answer follows", most=MOST_GRAMMAR),
    "json_schema": either(mapping(), boolean(), about="a JSON schema that the answer follows"),
}

STOP = either(text(), items(text(), most=MOST_STOPS), about="texts that end the answer")

ANSWERING: dict[str, Any] = {
    "n_keep": integer(-1, INT32, "tokens of the prompt that a context shift keeps"),
    "n_cmpl": integer(1, MOST_CHOICES, "answers to each prompt"),
    "n_cache_reuse": integer(0, INT32),
    "n_indent": integer(0, INT32),
    "stream": boolean("send the answer as server-sent events"),
    "stop": STOP,
    "t_max_predict_ms": integer(-1, INT32, "milliseconds after the first token at which the answer ends"),
    "id_slot": integer(-1, INT32, "the slot that answers"),
    "cache_prompt": boolean("reuse what an earlier prompt has left"),
    "return_tokens": boolean("tokens as ids beside the text"),
    "timings_per_token": boolean("times with each piece of a stream"),
    "return_progress": boolean("tell in a stream how far the prompt has been read"),
    "post_sampling_probs": boolean("probabilities after the samplers, not the model's own"),
    "response_fields": items(text(most=200), "fields to answer with; a/b is b of a", most=100),
    "context_shift": boolean("drop half of a full context and go on"),
    "lora": items(mapping(id=integer(0, INT32), scale=number())),
    "sse_ping_interval": integer(-1, 86400),
    "speculative.n_max": integer(0, INT32, "tokens guessed ahead at most, where it pays; 0 for none"),
    "speculative.n_min": integer(0, INT32, "fewer guesses are not tried"),
    "speculative.p_min": number(0, 1, "how sure a draft model has to be of a token"),
}

N_PREDICT: dict[str, Any] = {
    "n_predict": integer(-2, INT32, "tokens to write at most; -1 until the model ends"),
    "max_tokens": integer(-2, INT32, "the same"),
}

OPENAI: dict[str, Any] = {
    "model": text("taken as it is: there is one model", most=1000),
    "user": text(),
    "n": integer(1, MOST_CHOICES, "answers to each prompt"),
    "stream_options": mapping(include_usage=boolean("end the stream with the numbers of tokens")),
}

RESPONSE_FORMAT = mapping(
    "what the answer is: text, a JSON object, or JSON by a schema",
    type=choice("text", "json_object", "json_schema"),
    json_schema=mapping(name=text(most=200), strict=boolean(), schema=either(mapping(), boolean()),
                        description=text()),
    schema=either(mapping(), boolean()),
)  # fmt: skip

ANYTHING = anything()
