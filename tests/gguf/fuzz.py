"""Opens mutations of GGUF files: a program of its own, so that the C under it can be a sanitized build.

python -m tests.gguf.fuzz FOLDER SEED COUNT FILE...: FOLDER holds the `_native` extension to test. Prints how many
mutations opened and how many were refused; a crash, a traceback or an open that takes a second ends it.
"""

from __future__ import annotations

import io
import os
import random
import struct
import sys
import tempfile
import time
from contextlib import redirect_stdout, suppress

INTERESTING = [0, 1, 2, 4, 7, 8, 9, 12, 13, 31, 32, 127, 255, 256, 2048, 2050, 2057, 65535, 65536, 2**31 - 1, 2**31,
               2**32 - 1, 2**32, 2**40, 2**48, 2**61, 2**62, 2**63 - 1, 2**63, 2**64 - 32, 2**64 - 1]
LIMIT = 1.0  # seconds of the processor that opening may take
OUTCOMES = {"opened": 0, "refused": 0}


def spots(file):
    """Return positions of lengths, types, counts and numbers in the metadata of an open file."""
    found = [4, 8, 12, 16, 20]
    for _, start, end in file.spans.values():
        found += [start - 4, start, start + 4, start + 12, end, end + 8]
    last = max(end for _, _, end in file.spans.values())
    first = min(tensor.offset for tensor in file.tensors.values())
    return found, range(last, first)


def mutate(chance, head, known, table):
    """Change one to three places of a bytearray."""
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        at = chance.choice((chance.choice(known), chance.choice(table), chance.randrange(len(head))))
        kind = chance.randrange(5)
        if kind == 0:
            head[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            head[at] = chance.randrange(256)
        elif kind == 2:
            value = chance.choice(INTERESTING)
            head[at : at + 8] = struct.pack("<Q", value)
        elif kind == 3:
            head[at : at + 4] = struct.pack("<I", chance.choice(INTERESTING) & 0xFFFFFFFF)
        else:
            other = chance.choice((chance.choice(known), chance.randrange(len(head))))
            piece = head[other : other + chance.randrange(1, 64)]
            head[at : at + len(piece)] = piece


def use(file, path):
    """Touch whatever an open file offers: it must be there."""
    from llamafile import info
    from llamafile.errors import LlamafileError
    from llamafile.gguf import layout

    for key, value in file.keys.items():
        if not isinstance(value, (int, float, str)):
            assert len(value.tolist(100)) == min(len(value), 100), key
    for name, tensor in file.tensors.items():
        view = file.mappings[tensor.mapping].view
        assert not tensor.nbytes or view[tensor.offset] + view[tensor.offset + tensor.nbytes - 1] >= 0
        with suppress(LlamafileError):
            file.need_tensor(name)
    for lay in (True, False):
        with suppress(LlamafileError):
            assert sum(len(chunk) for chunk in layout.file_bytes(file, 0, lay)) == file.mappings[0].length
    with redirect_stdout(io.StringIO()) as shown:
        info.main([path])
    assert len(shown.getvalue().splitlines()) >= len(file.keys) + len(file.tensors)


def attempt(path):
    """Open a path; count what came of it."""
    from llamafile.errors import LlamafileError
    from llamafile.gguf.reader import open_path

    begin = time.process_time()
    try:
        file = open_path(path)
    except LlamafileError as problem:
        took = time.process_time() - begin
        text = str(problem)
        assert text.startswith(f"{path}: ") and "; " in text and text.isprintable(), text
        OUTCOMES["refused"] += 1
    else:
        took = time.process_time() - begin
        with file:
            use(file, path)
        OUTCOMES["opened"] += 1
    assert took < LIMIT, (took, path)


def walk_in_exact_memory(data):
    """Walk bytes that lie at the very end of an allocation, so that the sanitizer sees each byte read behind them."""
    from llamafile._native import ffi, lib

    memory = ffi.new("uint8_t[]", len(data))
    ffi.memmove(memory, bytes(data), len(data))
    keys, tensors = ffi.new("lf_gguf_key[]", 3), ffi.new("lf_gguf_tensor[]", 1)
    lib.lf_gguf_walk(memory, len(data), ffi.new("lf_gguf_head *"), keys, 3, tensors, 1)


def fuzz(path, chance, count, work):
    """Try `count` mutations of one file in a sparse copy of it."""
    from llamafile.gguf.reader import open_path

    with open_path(path) as file:
        known, table = spots(file)
        whole, size = file.mappings[0].length, table.stop
        original = bytes(file.mappings[0].view[:size])
    copy = os.path.join(work, "mutation.gguf")
    for index in range(count):
        head = bytearray(original)
        mutate(chance, head, known, table)
        with open(copy, "wb" if index % 100 == 0 else "r+b") as out:
            out.write(head[:size])
            out.truncate(whole if chance.random() < 0.9 else chance.randrange(whole))
        attempt(copy)
        if size < 1 << 16:
            cut = chance.choice((size, chance.randrange(size + 1)))
            walk_in_exact_memory(head[:cut])


def main(folder, seed, count, *paths):
    """Fuzz each path with the extension in a folder; return the exit status."""
    import llamafile

    llamafile.__path__.insert(0, folder)
    from llamafile import _native

    assert _native.__file__.startswith(folder), _native.__file__
    chance = random.Random(int(seed))
    with tempfile.TemporaryDirectory() as work:
        for path in paths:
            fuzz(path, chance, int(count), work)
    print(OUTCOMES)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
