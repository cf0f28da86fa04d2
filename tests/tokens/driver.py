"""The tokenizers' C under the address and undefined-behaviour sanitizers, in a process of its own."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = HERE.parent.parent / "llamafile" / "tokens"
FLAGS = ["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined",
         "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", f"-I{SOURCES}",
         *(f"-D{name}=lf_test_{name}" for name in ("malloc", "calloc", "realloc"))]
BPE, SPM = range(2)


def compile_driver(folder):
    """Compile driver.c with all of the tokenizers' C into a folder; return the program's path."""
    program = folder / "driver"
    sources = [str(p) for p in sorted(SOURCES.glob("*.c"))]
    command = [os.environ.get("CC") or "cc", *FLAGS, str(HERE / "driver.c"), *sources, "-o", str(program)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return program


class Driver:
    """A running driver; every method fails where a sanitizer stopped it."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def close(self):
        """End it; leaks show here."""
        self.process.stdin.close()
        self.process.stdout.close()
        assert self.process.wait(60) == 0, "the driver ended with an error: see its standard error"

    def open(self, model, tokens, *, pre=0, merges=(), scores=None, kinds=None, unknown=-1, prefix=0, trim=0, width=8):
        """Open a vocabulary of bytes objects; return the error code."""
        arrays = (strings(tokens, width), strings(merges, width), packed("f", scores), packed("i", kinds))
        return self.open_raw(model, arrays, pre=pre, unknown=unknown, prefix=prefix, trim=trim, width=width)

    def open_raw(self, model, arrays, *, pre=0, unknown=-1, prefix=0, trim=0, width=8):
        """Open a vocabulary of four (count, bytes): tokens, merges, scores, kinds; return the error code."""
        parts = [struct.pack("<cI5i", b"V", width, model, pre, unknown, prefix, trim)]
        for count, data in arrays:
            parts.append(struct.pack("<II", count, len(data)) + data)
        self._send(b"".join(parts))
        return self._u32()

    def encode(self, data, special=True):
        """Return (error code, ids, the bytes that they stand for)."""
        self._send(struct.pack("<cII", b"T", int(special), len(data)) + data)
        code, ids = self._u32(), self._numbers()
        return code, ids, self._read(self._u32())

    def split(self, number, text):
        """Return the words that a pre-tokenizer cuts text into."""
        data = text.encode()
        self._send(struct.pack("<cII", b"S", number, len(data)) + data)
        ends = self._numbers()
        return [data[a:b].decode() for a, b in zip([0, *ends], ends, strict=False)]

    def fail_after(self, count):
        """Let so many allocations of the tokenizers succeed, and then none; all again with None."""
        self._send(struct.pack("<cI", b"F", 2**32 - 1 if count is None else count + 1))

    def compose(self, text):
        """Return the normal form C of text."""
        data = text.encode()
        self._send(struct.pack("<cI", b"N", len(data)) + data)
        return self._read(self._u32()).decode()

    def _send(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def _read(self, size):
        data = self.process.stdout.read(size)
        assert len(data) == size, "the driver stopped: see its standard error"
        return data

    def _u32(self):
        return struct.unpack("<I", self._read(4))[0]

    def _numbers(self):
        count = self._u32()
        return list(struct.unpack(f"<{count}i", self._read(4 * count)))


def strings(items, width=8):
    """Return (count, bytes) of strings as GGUF has them."""
    return len(items), b"".join(len(t).to_bytes(width, "little") + t for t in items)


def packed(code, items):
    """Return (count, bytes) of numbers, or of nothing."""
    items = [] if items is None else items
    return len(items), struct.pack(f"<{len(items)}{code}", *items)
