"""A slot in a file: its tokens and their cells, page by page, with what shows that the file fits and is whole."""

from __future__ import annotations

import hashlib  # noqa: F401 - identity needs it when a sandbox may not let modules come in any more
import os
import struct
import time
import zlib

from llamafile.errors import LlamafileError
from llamafile.prompt_cache import identity
from runtime.ops import PAGE

from .requests import Request
from .sequence import Sequence

MAGIC = b"LFSLOT01"
HEAD = struct.Struct("<8s32sQ")  # magic, what it belongs to, tokens
TAIL = struct.Struct("<I")  # CRC-32 of everything before


class _Checked:
    """A file that is read or written from front to end, and the checksum of what went by."""

    def __init__(self, file):
        self.file, self.crc, self.size = file, 0, 0

    def write(self, data):
        self.file.write(data)
        self._count(data)

    def read(self, n):
        data = self.file.read(n)
        self._count(data)
        return data

    def _count(self, data):
        self.crc, self.size = zlib.crc32(data, self.crc), self.size + len(data)


def save(slot, engine, tree, target):
    """Write what is still there of an idle slot's cells to a path, or to an open binary file."""
    started = time.perf_counter()
    pages = tree.match(slot.tokens, len(slot.tokens))
    last, same = tree.closest_child(pages[-1] if pages else tree.root, slot.tokens[len(pages) * PAGE :])
    cells = [(page, PAGE) for page in pages] + ([(last, same)] if last is not None else [])
    tokens = slot.tokens[: sum(count for _, count in cells)]
    size = _with_file(target, "cannot be written", lambda file: _write(file, engine, tokens, cells))
    return {"id_slot": slot.id, "n_saved": len(tokens), "n_written": size, "save_ms": _since(started)}


def _write(file, engine, tokens, cells):
    out = _Checked(file)
    out.write(HEAD.pack(MAGIC, identity(engine), len(tokens)))
    out.write(struct.pack(f"<{len(tokens)}i", *tokens))
    for page, count in cells:
        for part in engine.cells(page, count):
            out.write(part)
    file.write(TAIL.pack(out.crc))
    file.flush()
    return out.size + TAIL.size


def load(slot, engine, tree, source, n_ctx):
    """Fill a slot from a path or an open binary file; what was there stays where the file is refused."""
    started = time.perf_counter()
    label = source if isinstance(source, (str, os.PathLike)) else "the slot's file"
    sequence, size = _with_file(source, "cannot be read", lambda file: _read(file, label, engine, tree, n_ctx), "rb")
    slot.tokens, slot.last = sequence.tokens, None
    return {"id_slot": slot.id, "n_restored": len(slot.tokens), "n_read": size, "restore_ms": _since(started)}


def _read(file, label, engine, tree, n_ctx):
    """Read pages that nobody finds before the checksum was right; returns (sequence, bytes)."""
    source = _Checked(file)
    head = source.read(HEAD.size)
    if len(head) < HEAD.size or head[:8] != MAGIC:
        raise LlamafileError(f"{label}: is no saved slot; choose another file")
    _, owner, count = HEAD.unpack(head)
    if owner != identity(engine):
        raise LlamafileError(f"{label}: belongs to another model or cache format; choose another file")
    if count > n_ctx:
        raise LlamafileError(f"{label}: holds {count} tokens, the context has room for {n_ctx}; use a larger -c")
    raw = source.read(4 * count)
    whole = len(raw) == 4 * count
    sequence = Sequence(Request(struct.unpack(f"<{count}i", raw) if whole else ()), None, 0, n_ctx)
    try:
        if whole and not sequence.need_pages(tree, engine, count):
            raise LlamafileError(f"{label}: no room for {count} tokens beside what is running; try again later")
        whole = whole and _fill(source, sequence, engine, count) and file.read(TAIL.size + 1) == TAIL.pack(source.crc)
        if not whole or any(not 0 <= token < engine.model.n_vocab for token in sequence.tokens):
            raise LlamafileError(f"{label}: is cut off or damaged; delete it")
        sequence.record(tree, count)
    finally:
        sequence.release(tree)
    return sequence, source.size + TAIL.size


def _fill(source, sequence, engine, count):
    """Read the cells of each page; returns whether all were there."""
    for page in sequence.pages:
        parts = engine.cells(page, min(PAGE, count - page.depth * PAGE))
        for part in parts:
            data = source.read(len(part))
            if len(data) < len(part):
                return False
            part[:] = data
        engine.put_cells(page, parts)
    return True


def _with_file(place, failure, action, mode=""):
    """Run action(file); a path is opened, or written whole or not at all."""
    if not isinstance(place, (str, os.PathLike)):
        return action(place)
    fresh = place if mode else f"{os.fspath(place)}.{os.getpid()}.part"
    try:
        with open(fresh, mode or "wb") as file:
            done = action(file)
        if not mode:
            os.replace(fresh, place)
        return done
    except OSError as problem:
        if not mode and os.path.exists(fresh):
            os.unlink(fresh)
        raise LlamafileError(f"{place}: {failure} ({problem.strerror}); choose another file") from None


def _since(started):
    return round(1000 * (time.perf_counter() - started), 3)
