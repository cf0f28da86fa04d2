"""`llamafile upgrade-engine FILE`: puts a new engine under old weights, which are neither moved nor copied.

The new engine's members and a copy of the old head are appended, as one change of the directory that happens or does
not; the old head runs on, for it knows where its own engine's directory lies. Then the head is replaced. While that
lasts the file begins as a shell script which says what happened; the ELF header that makes it a program comes last.
"""

from __future__ import annotations

import os
import sys

from llamafile import engine, own, subcommand
from llamafile.errors import LlamafileError
from zipalign.lock import locked
from zipalign.reader import Archive
from zipalign.sources import Entry, Part
from zipalign.writer import append

FIRST = 512  # bytes of the head that are written as one; no disk writes them by halves
MEANWHILE = (
    "#!/bin/sh\n"
    'echo "llamafile: $0: putting in a new engine was interrupted; go on by: llamafile upgrade-engine $0" >&2\n'
    "exit 1\n"
)


def main(argv: list[str]) -> int:
    """Run the command line `upgrade-engine FILE [--engine NEW]` and return the exit status."""
    import click

    @click.command(help="Put this program's engine under the weights and arguments in FILE.")
    @click.option("--engine", "new", metavar="NEW", help="Take the engine of the executable NEW instead.")
    @click.argument("file")
    def upgrade_engine(file: str, new: str | None) -> tuple[str, str | None]:
        return file, new

    given = subcommand.read(upgrade_engine, "upgrade-engine", argv,
                            "give a file, as in: llamafile upgrade-engine my.llamafile")
    if given:
        click.echo(upgrade(*given))
    return 0


def upgrade(file: str, new: str | None = None) -> str:
    """Put the engine of the executable new (the running one by default) into file; return a line about it.

    Raises LlamafileError or ZipError; whatever stops it, kill -9 too, the file then runs or says how to go on.
    """
    new = new or own.path()
    if new is None:
        raise LlamafileError("upgrade-engine: this program runs from its sources; name the new engine with --engine")
    with Archive.open(new) as source:
        head, facts = _sound_head(source), engine.facts(source)
        with Archive.open(file) as target:
            before = _facts_of_old(target)
            same = before.get("digest") == facts.get("digest")
            if same and engine.PREVIOUS_HEAD not in target.members and engine.head_problem(target) is None:
                return f"{file}: has this very engine already, {_name(facts)}"
        if not same:
            _append_engine(file, source)
    _replace_head(file, head)
    with Archive.open(file) as target:
        spare = [name for name in (engine.PREVIOUS_HEAD,) if name in target.members]
    append(file, [], remove=spare, sync=True, say=_say)
    return f"{file}: engine {_name(facts)}, before {_name(before)}"


def _say(line: str) -> None:
    print(f"llamafile: {line}", file=sys.stderr)


def _name(facts: dict[str, str]) -> str:
    return f"{facts.get('version', 'unknown')} ({facts.get('revision', 'unknown')})"


def _sound_head(archive: Archive) -> bytes:
    """The head of the new engine, without the record at its end, which depends on the file it lies in."""
    problem = engine.head_problem(archive)
    if problem is not None:
        raise LlamafileError(f"{problem}; take another engine")
    return os.pread(archive.fd, engine.HEAD_SIZE - engine.RECORD_SIZE, 0)


def _facts_of_old(archive: Archive) -> dict[str, str]:
    facts = engine.facts(archive)
    if not facts:
        raise LlamafileError(f"{archive.label}: has no engine of this program in it; make it anew: llamafile convert")
    return facts


def _append_engine(file: str, source: Archive) -> None:
    """Make the new engine's members those of the file, and keep the head that is to be replaced among them."""
    names = [name for name in source.members if engine.is_engine_member(name)]
    entries = [_entry(source, name) for name in names]
    with Archive.open(file) as target:
        gone = [name for name in target.members if engine.is_engine_member(name) and name not in set(names)]
        if engine.PREVIOUS_HEAD not in target.members:  # else it is still the one that ran before
            entries.append(Entry(engine.PREVIOUS_HEAD, os.pread(target.fd, engine.HEAD_SIZE, 0), align=1))
    append(file, entries, remove=gone, sync=True, say=_say)


def _entry(source: Archive, name: str) -> Entry:
    member = source.members[name]
    if member.method:
        return Entry(name, source.read(member), align=1)
    part = Part(source.fd, source.data_offset(member), member.size, f"{source.label}@{name}", member.crc)
    return Entry(name, part, align=1)


def _replace_head(file: str, head: bytes) -> None:
    """Overwrite the slot in an order in which the file is a program, or says what it is, at every moment."""
    fd, _ = locked(file, _say, None)
    try:
        slot = head + engine.record_for(file)
        _put(fd, MEANWHILE.encode().ljust(FIRST, b"\n"), 0)
        _put(fd, slot[FIRST:], FIRST)
        _put(fd, slot[:FIRST], 0)
    except OSError as problem:
        raise LlamafileError(
            f"{file}: the head cannot be written: {problem.strerror}; see to its disk, then run upgrade-engine again"
        ) from problem
    finally:
        os.close(fd)


def _put(fd: int, data: bytes, at: int) -> None:
    rest = memoryview(data)
    while rest:
        done = os.pwrite(fd, rest, at)
        at, rest = at + done, rest[done:]
    os.fsync(fd)
