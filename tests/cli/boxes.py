"""Makes archives and executables for tests: with Python's zipfile or with a made-up engine."""

from __future__ import annotations

import zipfile
from pathlib import Path

from llamafile.freeze.assemble import assemble
from tests.gguf.craft import TWO_TENSORS, craft
from zipalign.sources import Entry
from zipalign.writer import append

# A program that says who it is, in place of the launcher: the shell stops reading where it exits.
HEAD = b"#!/bin/sh\necho engine \"$@\"\nexit 0\n"
MEMBERS = {"py/llamafile/__init__.pyc": b"not really", "ext/_x.so": bytes(5000), "licenses/PSF": b"free\n"}


def gguf(name: str = "model", extra: int = 0) -> bytes:
    """A small whole GGUF that knows its name."""
    keys = [("general.architecture", 8, "llama"), ("general.name", 8, name), *((f"k{i}", 4, i) for i in range(extra))]
    return craft(keys, TWO_TENSORS)


def part(number: int, count: int) -> bytes:
    """One part of a model in several files; the tensors are shared out."""
    keys = [("split.no", 2, number - 1), ("split.count", 2, count), ("split.tensors.count", 5, count)]
    if number == 1:
        keys = [("general.architecture", 8, "llama"), *keys]
    return craft(keys, [(f"t{number}", 0, (32,), bytes(128))])


def aligned(path: Path, members: dict[str, bytes]) -> Path:
    """An archive as our zipalign writes it."""
    append(path, [Entry(name, data) for name, data in members.items()])
    return path


def plain(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    """An archive as Python writes it."""
    with zipfile.ZipFile(path, "w", method) as box:
        for name, data in members.items():
            box.writestr(name, data)
    return path


def engine(path: Path) -> Path:
    """An executable with an engine and no weights."""
    assemble(path, HEAD, MEMBERS, {"version": "9.9.9", "revision": "abc"})
    return path


def llamafile(path: Path, members: dict[str, bytes]) -> Path:
    """An executable with an engine and these members."""
    return aligned(engine(path), members)
