"""The child that tries a GPU module: products whose results are known exactly, on each card; a crash stays in here."""

from __future__ import annotations

import json
import struct
import sys
import time

from llamafile.errors import LlamafileError

ROWS, INNER, OUTER = 3, 64, 48  # tokens, values of each, results of each
PIECE = 256 << 20  # bytes that are copied to measure a memory: more than caches hold


class _NoFile:
    label, mappings = "probe", ()

    def __init__(self) -> None:
        self.tensors: dict[str, object] = {}


def main(argv: list[str]) -> int:
    """Print what the module at argv[0] shows as a line of JSON; raises LlamafileError where it computes wrongly."""
    from runtime.devices import Module

    module = Module(argv[0])
    cards = []
    for index in range(module.count()):
        started = time.perf_counter()
        card = module.open(index)
        opened = time.perf_counter()
        largest = try_card(card)
        tried = time.perf_counter()
        cards.append({"name": card.name, "architecture": card.architecture, "total": card.total,
                      "available": card.available(), "difference": largest, "opened_in": opened - started,
                      "tried_in": tried - opened, **(speeds(card) if "--speed" in argv else {})})  # fmt: skip
        card.close()
    if not cards:
        raise LlamafileError(f"{argv[0]}: the module shows no card")
    sys.stdout.write(json.dumps({"kind": module.kind, "cards": cards}) + "\n")
    return 0


def try_card(card) -> float:
    """The largest difference from the exact products; raises LlamafileError where it is more than rounding."""
    from llamafile.device_cache import Cache
    from llamafile.lower import lower
    from llamafile.offload import Offload
    from runtime._core import ffi
    from runtime.executor import Program
    from runtime.threads import Pool

    graph, result, letters, exact = known_products()
    offload = Offload([card], 2, spare=0)
    graph.placement = offload.place(graph, letters)
    image = lower(graph, result, letters)
    cache, pool = Cache(image, offload), Pool(1)
    constants = ffi.from_buffer(graph.constants)
    maps = [(int(ffi.cast("uintptr_t", constants)), len(graph.constants))]
    program = Program(image, maps, cache, pool, offload.sides(image, graph, maps, cache))
    for i in range(ROWS):
        program.inputs["tokens"][i] = ROWS - 1 - i
    program.run(**letters)
    got = ffi.unpack(program.floats(image.logits), ROWS * OUTER)
    program.close()
    cache.close()
    pool.close()
    offload.release()
    largest = max(abs(a - b) for a, b in zip(got, exact))
    if not largest <= 0.01:
        worst = max(range(len(exact)), key=lambda i: abs(got[i] - exact[i]))
        raise LlamafileError(f"{card.name}: computes wrongly: {got[worst]:g} where {exact[worst]:g} is right; a newer "
                             "driver may help")
    return largest


def speeds(card) -> dict[str, float]:
    """Bytes a second: read and written together by copies within the card's memory, and up from the host's."""
    from runtime._core import ffi
    from runtime.executor import Memory

    size = min(PIECE, card.available() // 4)
    host, places = Memory(size), [card.alloc(size), card.alloc(size)]
    found = {}
    try:
        if not all(places):
            return {}
        address = int(ffi.cast("uintptr_t", host.raw.address))
        for name, each, work in (("up", size, lambda: card.upload(places[0], address, size)),
                                 ("within", 2 * size, lambda: card.copy(places[1], places[0], size))):  # fmt: skip
            work()
            card.sync()
            times, started = 0, time.perf_counter()
            while times < 3 or time.perf_counter() - started < 0.05:
                work()
                times += 1
                card.sync() if name == "up" or times % 10 == 0 else None
            card.sync()
            found[name] = times * each / (time.perf_counter() - started)
    finally:
        for place in places:
            card.release(place)
        host.close()
    return found


def known_products():
    """(graph, result, letters, the exact values): rows of a table times a matrix of Q8_0, plus times one of F32."""
    from llamafile.graph import Graph, Tensor
    from runtime import ops, program

    table = [[127 if k % 32 == 5 else (7 * k + 11 * t) % 51 - 25 for k in range(INNER)] for t in range(ROWS)]
    small = [[(5 * k + 3 * n) % 15 - 7 for k in range(INNER)] for n in range(OUTER)]
    bytes_ = [[(29 * k + 13 * n) % 255 - 127 for k in range(INNER)] for n in range(OUTER)]
    graph = Graph(_NoFile(), ROWS, None)

    def weight(dtype, shape, data):
        graph.constants += bytes(-len(graph.constants) % 64)
        tensor = Tensor(graph, dtype, shape, program.WEIGHT, "probe", offset=len(graph.constants), mapping=0)
        graph.constants += data
        return tensor

    def floats(rows):
        return b"".join(struct.pack(f"<{len(row)}f", *row) for row in rows)

    with graph.layer(0):
        x = ops.embed(graph.tokens, weight("f32", (ROWS, INNER), floats(table)))
        blocks = b"".join(struct.pack("<e32b", 0.5, *row[i : i + 32]) for row in bytes_ for i in range(0, INNER, 32))
        result = ops.matmul(x, weight("q8_0", (OUTER, INNER), blocks))
        result = result + ops.matmul(x, weight("f32", (OUTER, INNER), floats(small)))
    exact = [sum(a * (0.5 * q + s) for a, q, s in zip(row, qs, ss))
             for row in reversed(table) for qs, ss in zip(bytes_, small)]  # fmt: skip
    return graph, result, {"T": ROWS, "S": 1, "O": 1, "C": 64, "P": 1}, exact
