"""Checks a whole executable for damage: its head against the engine's stamp, each member against its CRC."""

from __future__ import annotations

from collections.abc import Iterator

from llamafile import engine
from llamafile.errors import LlamafileError
from zipalign.check import problems
from zipalign.reader import Archive


def damage(archive: Archive) -> Iterator[str]:
    """Yield one line for each damaged part of an executable, `FILE: what is wrong`; reads the whole file once."""
    head = engine.head_problem(archive)
    if head is not None:
        yield head
    yield from problems(archive)


def report(archive: Archive) -> str:
    """Return the line that --verify prints for a sound executable; raises LlamafileError naming what is damaged."""
    found = list(damage(archive))
    if found:
        raise LlamafileError("; ".join([*found, "copy the file again"]))
    return f"{archive.label}: the head and all {len(archive.members)} members are sound\n"
