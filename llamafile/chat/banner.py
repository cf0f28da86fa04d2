"""The few lines that a chat begins with: what runs, on what, and where it can be reached."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llamafile.arguments import Options

BOLD, DIM, GREEN, PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0;1;32m", "\x1b[0m"


def facts(options: Options) -> tuple[str, str]:
    """Return the model, and the context with the device; raises LlamafileError where there is no model."""
    from llamafile.cli.engine import context_of
    from llamafile.locate import open_model
    from llamafile.model import describe
    from runtime import cpu, threads

    with open_model(options.model) as file:
        trained = file.integer(f"{file.text('general.architecture')}.context_length", 2048, low=1)
        context = context_of(options, trained)
        count = options.n_threads if options.n_threads > 0 else threads.physical_cores()
        if options.isa is not None:
            cpu.choose(options.isa)
        return describe(file), f"context {context:,}, {cpu.chosen()}, {count} threads"


def show(options: Options, facts: tuple[str, str], address: str, controlled: bool) -> None:
    """Write the banner to the standard error stream, unless --log-disable is given."""
    if not options.log:
        return
    from llamafile import VERSION
    from llamafile.chat.harmless import seen

    model, machine = facts
    where = f"; {address}" if address else ""
    name, comma, rest = seen(model).partition(", ")
    bold, dim, plain = (BOLD, DIM, PLAIN) if controlled else ("", "", "")
    prefix = "" if controlled else "llamafile: "
    lines = [f"{bold}{name}{plain}{comma}{rest}", f"{dim}llamafile {VERSION}; {machine}{where}{plain}"]
    _tell("".join(f"{prefix}{line}\n" for line in lines) + "\n" * controlled)


def invite(options: Options) -> None:
    """Show the mark to type at, where the editor will put its own a moment later."""
    plain = os.environ.get("NO_COLOR") or ("color" in options.given and options.color == "off")
    os.write(1, f"{BOLD if plain else GREEN}>>> {PLAIN}\r".encode())


def _tell(text: str) -> None:
    try:  # noqa: SIM105 - contextlib would cost every start
        os.write(2, text.encode("utf-8", "surrogateescape"))
    except OSError:
        pass  # nobody listens
