"""A session in a file: its tokens and their cells, tied to the model and the cache's format."""

from __future__ import annotations

import struct

from llamafile.errors import LlamafileError
from llamafile.sandbox import files

MAGIC = b"LFSESS01"
HEAD = struct.Struct("<8s32sQQ")  # magic, what it belongs to, tokens, bytes of cells


def save(session, path):
    """Write the session; a file that was there is replaced whole or not at all."""
    parts = session.cells()
    head = HEAD.pack(MAGIC, identity(session), len(session.tokens), sum(len(p) for p in parts))
    try:
        with files.replacing(path) as file:
            file.write(head + struct.pack(f"<{len(session.tokens)}i", *session.tokens))
            for part in parts:
                file.write(part)
    except OSError as problem:
        raise LlamafileError(f"{path}: cannot be written ({problem.strerror}); choose another --prompt-cache") from None


def load(session, path):
    """Fill the session from a file; one of another model, format or size is refused and the session stays empty."""
    try:
        with files.reading(path) as file:
            head = file.read(HEAD.size)
            if len(head) < HEAD.size or head[:8] != MAGIC:
                raise LlamafileError(f"{path}: is no prompt cache; delete it or choose another --prompt-cache")
            _, owner, count, size = HEAD.unpack(head)
            if owner != identity(session):
                raise LlamafileError(f"{path}: belongs to another model or cache format; choose another --prompt-cache")
            if count > session.n_ctx:
                raise LlamafileError(f"{path}: holds {count} tokens; the context has room for {session.n_ctx}, use -c")
            tokens = file.read(4 * count)
            session.tokens = list(struct.unpack(f"<{len(tokens) // 4}i", tokens)) if len(tokens) == 4 * count else []
            parts = session.cells()
            whole = len(session.tokens) == count and size == sum(len(p) for p in parts)
            for part in parts if whole else ():
                whole = whole and file.readinto(part) == len(part)
            if not whole or any(not 0 <= t < session.model.n_vocab for t in session.tokens):
                session.truncate(0)
                raise LlamafileError(f"{path}: is cut off or damaged; delete it")
            session.put_cells(parts)
    except OSError as problem:
        raise LlamafileError(f"{path}: cannot be read ({problem.strerror}); choose another --prompt-cache") from None


def identity(session):
    """32 bytes that change with the model's metadata and size, and with the cache's format."""
    from hashlib import sha256

    digest = sha256(repr(session.cache_types).encode())
    for mapping in (mapping for mapping in session.model.file.mappings if mapping.fd >= 0):
        digest.update(struct.pack("<Q", mapping.length))
        digest.update(mapping.view[: 1 << 20])
    return digest.digest()
