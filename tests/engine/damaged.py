"""Runs in a child process: opens copies of a GGUF with one number changed, counts how each ends, prints it as JSON."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np

from llamafile.errors import LlamafileError
from runtime.ops import RuntimeFault
from tests.engine import opened

IDS = [1, 5, 9, 70, 33]
INTEGERS = (0, 1, 2, 3, 7, 31, 33, 64, 1 << 16, (1 << 24) + 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
FLOATS = (0.0, -1.0, 1e-30, 1e30, float("nan"), float("inf"), float("-inf"))
LENGTHS = (0, 1, 2, 3, 31, 63, 65, 1 << 16, 1 << 31, 1 << 32, 1 << 40, 1 << 62, (1 << 63) - 1, (1 << 64) - 1)
TYPES = (0, 1, 2, 3, 4, 5, 8, 10, 14, 16, 24, 26, 30, 39, 40, 255, (1 << 32) - 1)


def changes(path: Path) -> Iterator[tuple[str, int, bytes]]:
    """What to overwrite: a name for the change, the place in the file, the bytes."""
    reader = gguf.GGUFReader(path)
    start = reader.data.__array_interface__["data"][0]

    def place(part: np.ndarray) -> int:
        return part.__array_interface__["data"][0] - start

    for name, field in reader.fields.items():
        if len(field.types) == 1 and field.types[0] in (gguf.GGUFValueType.UINT32, gguf.GGUFValueType.FLOAT32):
            for value in INTEGERS if field.types[0] == gguf.GGUFValueType.UINT32 else FLOATS:
                part = field.parts[field.data[0]]
                yield f"{name} = {value}", place(part), np.array([value]).astype(part.dtype).tobytes()
    for tensor in reader.tensors:  # the parts are: name's length, name, count of dimensions, dimensions, type, offset
        count, lengths, kind, offset = tensor.field.parts[2:6]
        for what, part, numbers in (("dimensions", count, (0, 1, 2, 3, 4, 5, 255)), ("type", kind, TYPES),
                                    ("offset", offset, LENGTHS)):
            for number in numbers:
                yield f"{tensor.name}'s {what} = {number}", place(part), np.array([number], part.dtype).tobytes()
        for i in range(len(lengths)):
            for number in LENGTHS:
                yield (f"{tensor.name}'s length {i} = {number}", place(lengths[i:]),
                       np.array([number], lengths.dtype).tobytes())


def outcome(path: Path) -> str:
    """How opening and running ends: "runs", "refused", or what should not happen."""
    try:
        with opened.model(path, n_threads=1) as model, opened.session(model, 64) as session:
            session.sync(list(IDS))
            opened.rows(session)
            return "runs"
    except (LlamafileError, RuntimeFault) as refusal:
        return "refused" if "\n" not in str(refusal) and str(refusal) else f"{refusal!r} is not one line"
    except Exception as surprise:
        return f"{type(surprise).__name__}: {surprise}"


def main(path: Path, scratch: Path) -> None:
    """Try every change; the last one tried is on stderr, should the process die of it."""
    whole, surprises, ends = path.read_bytes(), [], Counter[str]()
    for name, place, value in changes(path):
        print(name, file=sys.stderr, flush=True)
        scratch.write_bytes(whole[:place] + value + whole[place + len(value):])
        end = outcome(scratch)
        ends[end if end in ("runs", "refused") else "surprises"] += 1
        if end not in ("runs", "refused"):
            surprises.append(f"{name}: {end}")
    json.dump({"ends": ends, "surprises": surprises}, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
