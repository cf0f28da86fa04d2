"""What the subcommands share: click reads their words, and what it complains of becomes one line.

Click only reads: work that ran inside of it would end in click's own ways when Ctrl-C is pressed or a pipe is closed.
"""

from __future__ import annotations

from llamafile.errors import LlamafileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    import click


def read(command: click.Command, name: str, argv: list[str], hint: str) -> tuple[Any, ...] | None:
    """Return the tuple that a command makes of its arguments, or None where --help was shown.

    Raises LlamafileError with the hint for what cannot be read.
    """
    import click

    try:
        given = command.main(argv, prog_name=f"llamafile {name}", standalone_mode=False)
    except click.ClickException as problem:
        raise LlamafileError(f"{name}: {problem.format_message().rstrip('.')}; {hint}") from None
    return given if isinstance(given, tuple) else None
