"""`llamafile perplexity -m MODEL -f TEXT`: how well a model foretells a text, as llama.cpp's tool of that name counts.

The tokens are cut into windows that know nothing of each other; a rest is dropped. In each the first token is the begin
token where the model adds one, and the second half is scored, given all before it. Perplexity is exp of the mean of
-ln p.
"""

from __future__ import annotations

import math
import time

from llamafile import subcommand
from llamafile.errors import LlamafileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from llamafile.arguments import Options
    from llamafile.cli.output import Output

WINDOW = 512  # tokens, where -c says nothing else
SHORTEST = 8
ROOM = 1 << 26  # bytes of logits at a time


def main(argv: list[str]) -> int:
    """Score the text that argv names and return the exit status."""
    import click

    @click.command(
        context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]}, options_metavar="[FLAGS]",
        help="Tell how well MODEL foretells the text of -f FILE (or -p TEXT): the perplexity after each window of "
             "tokens, then that of all with its standard error. -c N is a window's length, 512 without it. Flags that "
             "load a model and choose threads, cache types and GPU are those of llamafile itself.",
    )  # fmt: skip
    @click.option("--chunks", type=click.IntRange(-1), default=-1, help="Windows to score at most; -1 and 0 take all.")
    @click.argument("flags", nargs=-1, type=click.UNPROCESSED, metavar="-m MODEL -f FILE")
    def perplexity(chunks, flags):
        return chunks, list(flags)

    given = subcommand.read(perplexity, "perplexity", argv,
                            "write it as in: llamafile perplexity -m model.gguf -f text.txt")
    return score(*given) if given else 0


def score(chunks: int, flags: list[str]) -> int:
    """Write the perplexity of the text that the flags name; `chunks` windows of it at most, below 1 all."""
    from llamafile import args_file, arguments, locate, sandbox
    from llamafile.cli import engine, texts
    from llamafile.cli.output import Output

    merged, of_file = args_file.merge(locate.shipped_arguments(), flags)
    options = arguments.read(merged, of_file)
    mine = arguments.read(flags)  # a .args file says how to chat: neither its prompt nor its context is meant here
    output = Output(options)
    for notice in options.notices:
        output.note(notice)
    text = texts.Texts(mine).prompt
    if text is None:
        raise LlamafileError("perplexity: there is no text; give one with -f FILE")
    sandbox.give_up_writing(options, engine.wanted_gpu(options))
    model = engine.open_model_of(options, output.note)
    try:
        window = mine.n_ctx or model.n_ctx_train if "n_ctx" in mine.given else min(WINDOW, model.n_ctx_train)
        if window < SHORTEST:
            raise LlamafileError(f"-c {window}: a window has {SHORTEST} tokens at least; give a larger -c")
        ids = model.tokenizer.encode(text, add_special=True, parse_special=False)
        if len(ids) < window:
            raise LlamafileError(f"perplexity: the text has {len(ids)} tokens, and a window {window}; give a longer "
                                 "text or a smaller -c")
        count = min(len(ids) // window, chunks if chunks > 0 else len(ids))
        session = model.session(window, n_batch=batch_of(options, model, window), all_logits=True,
                                cache_types=(options.cache_type_k, options.cache_type_v))
        try:
            sandbox.preload("cli")
            sandbox.close_door("cli", options, gpu=model.gpu, note=output.note, detail=output.detail)
            report(model, session, ids, window, count, output)
        finally:
            session.close()
    finally:
        model.close()
    return 0


def batch_of(options: Options, model: Any, window: int) -> int:
    """Return the tokens of a pass: what -b and -ub allow, a half window, and logits that are no waste of memory."""
    return max(1, min(options.n_batch, options.n_ubatch, window - window // 2, ROOM // (4 * model.n_vocab)))


def report(model: Any, session: Any, ids: list[int], window: int, count: int, output: Output) -> None:
    """Score `count` windows; write the perplexity so far after each, and at the end that of all."""
    from llamafile.sampling import Params, Sampler

    output.note(f"{model.description}; {count} windows of {window} tokens, {window - window // 2 - 1} scored in each")
    sampler = Sampler(Params(), model.n_vocab, window, eog=model.tokenizer.eog)
    begin = model.tokenizer.bos if model.tokenizer.add_bos else None
    total = squares = 0.0
    scored = 0
    started = time.perf_counter()
    for i in range(count):
        tokens = ids[i * window : (i + 1) * window]
        if begin is not None:
            tokens[0] = begin
        for loss in losses(session, sampler, tokens):
            total += loss
            squares += loss * loss
            scored += 1
        if i == 0 and count > 1:
            seconds = time.perf_counter() - started
            output.note(f"{seconds:.2f} s a window, some {seconds * count:.0f} s in all")
        mean = total / scored
        found = perplexity_of(mean)
        output.write(f"[{i + 1}]{found:.4f},".encode())
    spread = max(0.0, squares / scored - mean * mean)
    error = math.sqrt(spread / max(1, scored - 1)) * found
    output.write(f"\nFinal estimate: PPL = {found:.4f} +/- {error:.5f}\n".encode())


def perplexity_of(loss: float) -> float:
    """e^loss, infinite where that is no number."""
    return math.exp(loss) if loss < 700 else math.inf


def losses(session: Any, sampler: Any, tokens: list[int]) -> Iterator[float]:
    """Yield -ln p of each token of a window's second half but the first, given all before it."""
    half, step = len(tokens) // 2, session.n_batch
    session.truncate(0)
    session.all_logits = False  # of the first half nothing is scored
    session.append(tokens[:half])
    session.all_logits = True
    for first in range(half, len(tokens), step):
        part = tokens[first : first + step]
        session.append(part)
        for i, following in enumerate(tokens[first + 1 : first + 1 + len(part)]):
            yield -sampler.logprobs(session.logits + i * sampler.n_vocab, following, 0)[0]
