"""How fast a real card runs the ops, beside what it can read and multiply at most: python3 -m tests.gpu.bench."""

from __future__ import annotations

import ctypes
import statistics
import subprocess
import sys
import time

import numpy as np

from runtime.ops import OPS
from runtime.quants import FORMATS
from tests.runtime.cases import QUANTS, random_blocks

from .card import Card, Operand, bytes_of, words_of
from .compiled import GPU, ROOT, module, nvcc

ROUNDS = 7
FILL = 160 << 20  # bytes of operands that one stretch goes through: more than any cache holds


def peaks():
    """(int8 operations, half float operations, bytes read) a second, measured."""
    target = ROOT / "build" / "gpu" / "peaks.so"
    target.parent.mkdir(parents=True, exist_ok=True)
    flags = ["-std=c++17", "-O3", "-shared", "-arch=native", "-Xcompiler", "-fPIC", f"-I{GPU / 'cuda'}",
             f"-I{ROOT / 'build' / 'generated'}"]  # fmt: skip
    subprocess.run([str(nvcc()), *flags, "-o", str(target), str(ROOT / "tests" / "gpu" / "peaks.cu")], check=True)
    library = ctypes.CDLL(str(target))
    library.peak.restype = ctypes.c_double
    return [library.peak(i) for i in range(3)]


class Bench:
    """A card with operands made once and used many times."""

    def __init__(self, path, graphs=True):
        self.card, self.rng, self.number, self.graphs = Card(path), np.random.default_rng(1), 0, graphs

    def operand(self, dtype, shape, values=None):
        """Memory for a tensor, with values or what random bytes mean in its format."""
        size = bytes_of(dtype, shape)
        made = Operand(dtype, shape, self.card.alloc(size), size)
        if values is None and dtype in QUANTS:
            format = FORMATS[dtype]
            blocks = random_blocks(format, min(4096, size // format.size), self.rng).reshape(-1)
            values = np.resize(blocks, size)
        elif values is None and dtype == "a8":
            return made
        elif values is None:
            values = self.rng.normal(0, 1, 1 << 16).astype("f4")
            if dtype == "bf16":
                values = (values.view("u4") >> 16).astype("u2")
            elif dtype == "f16":
                values = values.astype("f2")
            values = np.resize(values, int(np.prod(shape)))
        self.card.upload(made.address, values)
        return made

    def copies(self, operand, count):
        """The operand, and others with the same bytes elsewhere; itself alone for a profiler."""
        out = [operand]
        for _ in range(count - 1 if self.graphs else 0):
            address = self.card.alloc(operand.nbytes)
            self.card.copy(address, operand.address, operand.nbytes)
            out.append(Operand(operand.dtype, operand.shape, address, operand.nbytes))
        return out

    def seconds(self, ops):
        """What one of these ops takes when all run as one launch graph: the median of several rounds."""
        records = []
        for name, outs, operands, attrs in ops:
            op = OPS[name]
            operands = [*operands, *[None] * (len(op.inputs) - len(operands))]
            values = {**op.defaults, **attrs}
            records.append((name, outs, operands, words_of(op, values)))
        self.number += self.graphs
        stretch = self.card.stretch(*records, same=self.number)
        times = []
        for i in range(ROUNDS + 3 if self.graphs else 1):
            begin = time.perf_counter()
            self.card.run(stretch)
            self.card.sync()
            if i >= 3 or not self.graphs:
                times.append(time.perf_counter() - begin)
        return statistics.median(times) / len(ops)

    def product(self, dtype, n, k, t):
        """Seconds of a product of t rows with an n x k matrix that lies in memory, not in a cache."""
        w = self.operand(dtype, (n, k))
        count = max(2, min(24, FILL // w.nbytes)) if t < 64 else 4
        out, x = self.operand("f32", (t, n)), self.operand("f32", (t, k))
        name, operand = "matmul", x
        if dtype in QUANTS:
            name, operand = "matmul_quantized", self.operand("a8", (t, k))
            self.seconds([("quantize_rows", [operand], [x], {})])
        took = self.seconds([(name, [out], [operand, each], {}) for each in self.copies(w, count)])
        self.card.free()
        return took, w.nbytes

    def attention(self, rows, cells, dtype="f16", heads=32, kv_heads=8, size=128):
        """Seconds of attention of the last rows of one sequence, and the bytes of its keys and values."""
        pages = -(-cells // 64)
        k = self.operand(dtype, (pages * 64, kv_heads, size))
        pairs = [self.copies(o, max(1, min(8, FILL // (2 * o.nbytes)))) for o in (k, self.operand(dtype, k.shape))]
        tables = (np.arange(cells - rows, cells), np.array([0, rows]), np.array([cells]), np.arange(pages)[None],
                  np.arange(pages * 64))  # fmt: skip
        ints = [self.operand("i32", a.shape, a.astype("i4")) for a in tables]
        q, out = self.operand("f32", (rows, heads, size)), self.operand("f32", (rows, heads, size))
        took = self.seconds([("attention", [out], [q, *kv, *ints], {"scale": size**-0.5}) for kv in zip(*pairs)])
        self.card.free()
        return took, 2 * k.nbytes

    def experts(self, dtype, t, used=8, count=64, n=1408, k=2048):
        """Seconds of the product of t rows with the experts that they chose."""
        w, x = self.operand(dtype, (count, n, k)), self.operand("f32", (t, 1, k))
        ids = np.argsort(self.rng.random((t, count)), axis=1)[:, :used].astype("i4")
        operand, out = self.operand("a8", (t, 1, k)), self.operand("f32", (t, used, n))
        self.seconds([("quantize_rows", [operand], [x], {})])
        placed = self.operand("i32", ids.shape, ids)
        calls = [("matmul_ids_quantized", [out], [operand, each, placed], {}) for each in self.copies(w, 3)]
        took = self.seconds(calls)
        self.card.free()
        return took

    def small(self):
        """Microseconds of ops so small that only the launch counts, one after another."""
        x, out, w = self.operand("f32", (1, 4096)), self.operand("f32", (1, 4096)), self.operand("f32", (4096,))
        a8 = self.operand("a8", (1, 4096))
        found = {
            "add": self.seconds([("add", [out], [x, x], {})] * 100),
            "rms_norm": self.seconds([("rms_norm", [out], [x, w], {"eps": 1e-5})] * 100),
            "quantize_rows": self.seconds([("quantize_rows", [a8], [x], {})] * 100),
        }
        self.card.free()
        return found


def products(bench, int8, half, read):
    """Lines of a table: a format each."""
    yield "k = 4096: 1 row x 4096           1 row x 14336         4        8        16 rows   512 rows      2048 rows"
    for dtype in (*QUANTS, "f16", "bf16", "f32"):
        cells = []
        for n, t in ((4096, 1), (14336, 1), (14336, 4), (14336, 8), (14336, 16)):
            took, size = bench.product(dtype, n, 4096, t)
            rate = f" {size / took / 1e9:5.0f}GB/s {100 * size / took / read:3.0f}%" if t == 1 else ""
            cells.append(f"{took * 1e6:6.1f}us{rate}")
        for t in (512, 2048) if dtype != "f32" else ():
            took, _ = bench.product(dtype, 4096, 4096, t)
            rate, most = 2 * 4096 * 4096 * t / took, half if dtype in ("f16", "bf16") else int8
            cells.append(f"{rate / 1e12:6.1f}T {100 * rate / most:3.0f}%")
        yield f"{dtype:7} " + "  ".join(cells)


def attentions(bench):
    """Lines about attention: decoding and prompts, cache formats, head sizes."""
    for dtype, heads, kv, size in (("f16", 32, 8, 128), ("q8_0", 32, 8, 128), ("q4_0", 32, 8, 128), ("f16", 32, 8, 64),
                                   ("f16", 16, 8, 256)):  # fmt: skip
        for rows, cells in ((1, 512), (1, 4096), (1, 32768), (4, 4096), (512, 512), (512, 4096)):
            took, moved = bench.attention(rows, cells, dtype, heads, kv, size)
            work = 4 * rows * (cells - rows / 2) * heads * size
            yield (f"attention {dtype:5} {heads}/{kv} heads of {size:3}, {rows:3} rows, {cells:5} cells: "
                   f"{took * 1e6:8.1f} us, {moved / took / 1e9:5.0f} GB/s, {work / took / 1e12:6.1f} TFLOPS")


def experts(bench):
    """Lines about mixtures of experts."""
    for dtype in ("q4_k", "q8_0"):
        for t in (1, 8, 64, 512):
            took = bench.experts(dtype, t)
            rate = 2 * t * 8 * 1408 * 2048 / took
            yield f"experts {dtype:5} {t:4} rows, 8 of 64, 1408 x 2048: {took * 1e6:8.1f} us, {rate / 1e12:6.1f} TOPS"


def profile():
    """Run the hot kernels a few times, launch by launch, for a profiler that watches."""
    bench = Bench(module("cuda"), graphs=False)
    for dtype in ("q4_0", "q4_k", "q8_0", "q6_k", "f16"):
        bench.product(dtype, 14336, 4096, 1)
        bench.product(dtype, 4096, 4096, 512)
    bench.product("q4_k", 14336, 4096, 8)
    for rows, cells in ((1, 4096), (1, 32768), (512, 4096)):
        bench.attention(rows, cells)


def main():
    """Print one table."""
    int8, half, read = peaks()
    bench = Bench(module("cuda"))
    print(f"card: int8 mma {int8 / 1e12:.0f} TOPS, f16 mma {half / 1e12:.0f} TFLOPS, reads {read / 1e9:.0f} GB/s")
    for lines in (products(bench, int8, half, read), attentions(bench), experts(bench)):
        for line in lines:
            print(line, flush=True)
    parts = (f"{name} {took * 1e6:.2f} us" for name, took in bench.small().items())
    print("one op of a graph: " + ", ".join(parts))


if __name__ == "__main__":
    sys.exit(profile() if "--profile" in sys.argv else main())
