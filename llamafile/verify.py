"""Checks a whole executable for damage: its head against the engine's stamp, each member against its CRC."""

from __future__ import annotations

import os
from collections.abc import Iterator

from llamafile import engine
from llamafile.errors import LlamafileError
from zipalign.check import problems
from zipalign.checksum import crc32
from zipalign.reader import Archive


def damage(archive: Archive) -> Iterator[str]:
    """Yield one line for each damaged part of an executable, `FILE: what is wrong`; reads the whole file once."""
    yield from _head(archive)
    yield from problems(archive)


def report(archive: Archive) -> str:
    """Return the line that --verify prints for a sound executable; raises LlamafileError naming what is damaged."""
    found = list(damage(archive))
    if found:
        raise LlamafileError("; ".join([*found, "copy the file again"]))
    return f"{archive.label}: the head and all {len(archive.members)} members are sound\n"


def _head(archive: Archive) -> Iterator[str]:
    if engine.STAMP not in archive.members:
        yield f"{archive.label}: has no engine in it"
        return
    size, _, crc = engine.facts(archive).get("head", "").partition(" ")
    if not size.isdecimal() or not 0 < int(size) <= engine.HEAD_SIZE - engine.RECORD_SIZE:
        yield f"{archive.label}: {engine.STAMP} does not describe the head"
        return
    slot = os.pread(archive.fd, engine.HEAD_SIZE, 0)
    if f"{crc32(slot[: int(size)]):08x}" != crc:
        yield f"{archive.label}: the head, which starts the engine, is damaged"
    elif engine.recorded_stamp(slot) != archive.members[engine.STAMP].crc:
        yield f"{archive.label}: the head's record of its engine is damaged, or of another engine"
