"""`llamafile upgrade-engine FILE`: puts a new engine under old weights, which are neither moved nor copied.

The new engine's members are appended with a copy of the old head, as one change of the directory that happens or does
not. From then until the new head is in place the old head runs on by its own record of where its engine lies. The new
head begins as a shell script that says what happened; the program header that makes it an executable is written last."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from llamafile import engine, own
from llamafile.errors import LlamafileError
from zipalign.reader import Archive
from zipalign.sources import Entry, Part
from zipalign.writer import append

_FIRST = 512  # bytes; what no disk writes in halves


def main(argv: list[str]) -> int:
    """Run the command line `upgrade-engine FILE [--engine NEW]` and return the exit status."""
    import click

    @click.command(help="Put this program's engine, or that of NEW, under the weights and arguments in FILE.")
    @click.option("--engine", "new", metavar="NEW", help="The executable whose engine to take; this one by default.")
    @click.argument("file")
    def upgrade_engine(file: str, new: str | None) -> None:
        click.echo(upgrade(file, new))

    try:
        upgrade_engine.main(argv, prog_name="llamafile upgrade-engine", standalone_mode=False)
    except click.ClickException as problem:
        raise LlamafileError(
            f"upgrade-engine: {problem.format_message().rstrip('.')}; as in: llamafile upgrade-engine my.llamafile"
        ) from None
    return 0


def upgrade(file: str, new: str | None = None) -> str:
    """Put the engine of the executable new (the running one by default) into file; returns a line that says it was done.

    Raises LlamafileError or ZipError; whatever stops it, even kill -9, the file then runs or says how to go on."""
    new = new or own.path()
    if new is None:
        raise LlamafileError("upgrade-engine: this program runs from its sources; name the new engine with --engine")
    with Archive.open(new) as source:
        head, facts = _whole_head(source), engine.facts(source)
        _refuse_strange(file, new)
        with Archive.open(file) as target:
            before = engine.facts(target)
            done = before.get("digest") == facts["digest"]
        if not done:
            _append_engine(file, source)
    _replace_head(file, head)
    append(file, [], remove=[engine.PREVIOUS_HEAD], sync=True)
    was = f"was {before.get('version', 'unknown')} {before.get('revision', '')}".rstrip()
    return f"{file}: engine {facts['version']} {facts['revision']} ({was})"


def _whole_head(archive: Archive) -> bytes:
    """The head of an engine without its record, which is the file's own."""
    from llamafile import verify

    for problem in verify._head(archive):
        raise LlamafileError(f"{problem}; take another engine")
    return os.pread(archive.fd, engine.HEAD_SIZE - engine.RECORD_SIZE, 0)
