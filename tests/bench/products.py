"""Single products through the flat program: many columns against the arithmetic peak, one against the bandwidth."""

from __future__ import annotations

import math
import mmap
import statistics
import time
from types import SimpleNamespace

import numpy as np

from llamafile.graph import Graph, Tensor
from llamafile.lower import lower
from runtime import ops, program
from runtime._core import ffi, lib
from runtime.executor import FAULT, Memory, Program
from runtime.ops import RuntimeFault
from runtime.quants import FORMATS
from runtime.threads import Pool

from . import limits, synthetic

# Rows × columns of typical weights: SmolLM2's attention, feed-forward and output, then those of a llama of 1.1B.
SHAPES = ((576, 576), (1536, 576), (576, 1536), (49152, 576), (2048, 2048), (5632, 2048), (2048, 5632))
LAID_OUT = ("q4_0", "q4_1", "q5_0", "q8_0", "q4_k", "q6_k")  # timed as convert --repack lays them out, too
NAMES = ("q4_0", "q4_1", "q5_0", "q8_0", "q4_k", "q5_k", "q6_k", "iq4_nl", "iq4_xs", "mxfp4", "f16", "bf16", "f32")
MANY = 512
BEYOND_CACHES = 256 << 20  # bytes of weights that one round of one-column products reads
OPS_A_ROUND = 4e9  # multiplications and additions of a many-column round, at least one product


class Case:
    """`copies` products of the same shape, format and number of columns, each with weights of its own."""

    def __init__(self, shape, name, columns, copies, pool):
        self.rows, self.width = shape
        self.name, self.columns, self.copies = name, columns, copies
        self.weight_bytes = self.rows * FORMATS[name].row_size(self.width)
        self.stride = -(-self.weight_bytes // 64) * 64
        self.memory = mmap.mmap(-1, self.stride * copies)
        self._fill()
        self.values = np.random.default_rng(1).standard_normal((columns, self.width), "f4")
        self._open(pool)

    def _fill(self):
        form = FORMATS[self.name]  # laid out, the same blocks would only be in another order
        tile = synthetic.random_rows(form.plain or form, self.rows * self.width, np.random.default_rng(2))
        for i in range(self.copies):
            self.memory[i * self.stride : i * self.stride + len(tile)] = tile

    def _open(self, pool):
        graph = Graph(SimpleNamespace(label="bench"), 0, None)
        x = Tensor(graph, "f32", (self.columns, self.width), program.WEIGHT, mapping=1)
        for i in range(self.copies):
            w = Tensor(graph, self.name, (self.rows, self.width), program.WEIGHT, offset=i * self.stride)
            result = ops.matmul(x, w)
        self.letters = {"T": 1, "S": 1, "O": 1, "C": 64, "P": 1}
        image = lower(graph, result, self.letters)
        self.count = len(image.ops) // program.OP.size
        self.view = ffi.from_buffer(self.memory)
        self.address = int(ffi.cast("uintptr_t", self.view))
        inputs = ffi.from_buffer(self.values)
        mappings = [(self.address, len(self.memory)), (int(ffi.cast("uintptr_t", inputs)), self.values.nbytes)]
        self.cache = Memory(0)
        self.program = Program(image, mappings, self.cache, pool)
        self.fault = ffi.new("char[]", FAULT)
        self.sizes = ffi.new("int32_t[]", [self.letters[letter] for letter in program.LETTERS])
        self.program.run(**self.letters)

    def seconds(self):
        """Run the products once, without the quantising of what they multiply; returns seconds for one product."""
        first = self.count - self.copies
        started = time.perf_counter()
        bad = lib.lf_run_range(self.program.handle, self.sizes, first, self.copies, self.fault, FAULT)
        took = time.perf_counter() - started
        if bad:
            raise RuntimeFault(ffi.string(self.fault).decode())
        return took / self.copies

    def bandwidth(self, threads):
        """Bytes a second of plain reading over the same weights."""
        return limits.bandwidth(self.address, len(self.memory), threads)

    def close(self):
        """Give everything back."""
        self.program.close()
        self.cache.close()
        ffi.release(self.view)
        self.memory.close()


def cases(options):
    """Shape and format of every product to be timed."""
    shapes, names = (SHAPES[2:3], ("q8_0", "f16")) if options.quick else (SHAPES, NAMES)
    names = [form for name in names for form in ((name, f"{name}_r16") if name in LAID_OUT else (name,))]
    return [(shape, name) for shape in shapes for name in names if shape[1] % FORMATS[name].block == 0]


def operations(rows, width, columns):
    """Multiplications and additions of a product."""
    return 2.0 * rows * width * columns


def measure(report, options):
    """Report every product, with many columns and with one."""
    pool = Pool(options.threads)
    beyond = BEYOND_CACHES >> 4 if options.quick else BEYOND_CACHES
    for shape, name in cases(options):
        what = f"{shape[0]} × {shape[1]} {name}"
        work = operations(*shape, MANY)
        case = Case(shape, name, MANY, max(1, round(OPS_A_ROUND / work / (8 if options.quick else 1))), pool)
        many(report, options, case, what)
        case.close()
        size = shape[0] * FORMATS[name].row_size(shape[1])
        case = Case(shape, name, 1, max(1, math.ceil(beyond / size)), pool)
        one(report, options, case, what)
        case.close()
    pool.close()


def many(report, options, case, what):
    """Report a product with many columns: its rate, and the share of the unit's peak on as many threads."""
    took = statistics.median(case.seconds() for _ in range(options.rounds))
    rate, unit = operations(case.rows, case.width, case.columns) / took, limits.unit_of(case.name)
    peak = limits.peak(unit, options.threads)
    report.add("products", what, f"T={case.columns}, time", took * 1e9, "ns")
    report.add("products", what, f"T={case.columns}, rate", rate / 1e9, "GOPS", share=rate / peak if peak else None,
               of=f"{unit} peak {peak / 1e9:.0f} GOPS")


def one(report, options, case, what):
    """Report a product with one column: bytes a second, and the share of reading the same memory in the same round."""
    took, read = [], []
    for _ in range(options.rounds):
        took.append(case.seconds())
        read.append(case.bandwidth(options.threads))
    speeds = [case.weight_bytes / seconds for seconds in took]
    report.add("products", what, "T=1, time", statistics.median(took) * 1e9, "ns")
    report.add("products", what, "T=1, weights read", statistics.median(speeds) / 1e9, "GB/s",
               share=statistics.median(a / b for a, b in zip(speeds, read)),
               of=f"reading {statistics.median(read) / 1e9:.1f} GB/s")
