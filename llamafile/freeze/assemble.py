"""Puts the head, the engine's members and the head's record into one file."""

from __future__ import annotations

import hashlib
import os
import zlib
from pathlib import Path

from llamafile import engine
from llamafile.errors import LlamafileError
from zipalign.sources import Entry
from zipalign.writer import append


def stamp(head: bytes, members: dict[str, bytes], facts: dict[str, str]) -> bytes:
    """The `.engine` member: one `key value` a line, closed by digests that make it differ for every other engine."""
    digest = hashlib.sha256(head)
    for name, data in sorted(members.items()):
        digest.update(f"{name}\0{len(data)}\0".encode())
        digest.update(data)
    last = {"head": f"{len(head)} {zlib.crc32(head):08x}", "digest": digest.hexdigest()}
    return "".join(f"{key} {value}\n" for key, value in {**facts, **last}.items()).encode()


def assemble(output: Path, head: bytes, members: dict[str, bytes], facts: dict[str, str]) -> None:
    """Write output by a temporary name beside it and rename: the file it replaces may be running."""
    if len(head) > engine.HEAD_SIZE - engine.RECORD_SIZE:
        room = engine.HEAD_SIZE - engine.RECORD_SIZE
        raise LlamafileError(f"{output}: the head has {len(head)} bytes, its slot {room}; link less into it")
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(f".{output.name}.{os.getpid()}")
    entries = [Entry(engine.STAMP, stamp(head, members, facts), align=1)]
    entries += [Entry(name, data, align=1) for name, data in sorted(members.items())]
    try:
        with open(temporary, "wb") as file:
            file.write(head.ljust(engine.HEAD_SIZE, b"\0"))
        append(temporary, entries)
        with open(temporary, "r+b") as file:
            file.seek(engine.HEAD_SIZE - engine.RECORD_SIZE)
            file.write(engine.record_for(temporary))
        os.chmod(temporary, 0o755)
        os.replace(temporary, output)
    finally:
        temporary.unlink(missing_ok=True)
