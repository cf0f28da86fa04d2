"""/metrics: counters and gauges as Prometheus reads them, under llama-server's names."""

from __future__ import annotations

from llamafile.server.call import Answer
from llamafile.server.errors import unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llamafile.server.call import Call

KIND = "text/plain; version=0.0.4; charset=utf-8"

# Name, kind, what it is.
METRICS = (
    ("prompt_tokens_total", "counter", "Tokens of prompts that were computed."),
    ("prompt_seconds_total", "counter", "Seconds spent on prompts."),
    ("tokens_predicted_total", "counter", "Tokens that were written."),
    ("tokens_predicted_seconds_total", "counter", "Seconds spent on writing."),
    ("spec_decode_num_drafts_total", "counter", "Guesses at what comes next that were computed."),
    ("spec_decode_num_draft_tokens_total", "counter", "Tokens in them."),
    ("spec_decode_num_accepted_tokens_total", "counter", "Tokens in them that came."),
    ("n_decode_total", "counter", "Steps of the engine."),
    ("n_tokens_max", "counter", "Most tokens that a sequence has had."),
    ("n_busy_slots_per_decode", "gauge", "Slots at work in a step, on average."),
    ("prompt_tokens_seconds", "gauge", "Tokens of prompts a second, on average."),
    ("predicted_tokens_seconds", "gauge", "Tokens written a second, on average."),
    ("requests_processing", "gauge", "Requests that have a slot."),
    ("requests_deferred", "gauge", "Requests that wait for one."),
)


async def get(call: Call) -> Answer:
    """Write them all."""
    if not call.served.options.metrics:
        raise unsupported("This server does not serve metrics. Start it with --metrics")
    values = call.served.scheduler.metrics()
    lines = []
    for name, kind, about in METRICS:
        lines += [f"# HELP llamacpp:{name} {about}", f"# TYPE llamacpp:{name} {kind}",
                  f"llamacpp:{name} {values.get(name, 0):.10g}"]
    started = ("process-start-time-unix", str(call.served.created))
    return Answer(("\n".join(lines) + "\n").encode(), KIND, headers=[started])
