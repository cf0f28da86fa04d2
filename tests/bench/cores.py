"""More cores than this machine has: how a step's products are shared out on memory nodes that are only counted."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from pathlib import Path

from llamafile.lower import bytes_of, for_cpu
from llamafile.model import Model
from runtime import nodes, program
from runtime._core import ffi, lib
from runtime.threads import Pool

from . import models

THREADS = 64
LAYOUTS = ((4, 16), (2, 32))
PRODUCTS = ("matmul", "matmul_quantized")
LOG = 1 << 20
OLD_TURN = 32  # rows at a time, from one counter for all: what this is compared with


class Step:
    """One token on a pool of THREADS in `count` nodes: what ops were shared out in how many units, and what was met."""

    def __init__(self, model, count, cores):
        made = [nodes.Node(i, list(range(i * cores, (i + 1) * cores)), cores) for i in range(count)]
        self.plan = nodes.plan(THREADS, "distribute", nodes=made)
        self.plan.cpus = [None] * THREADS  # these processors are not here
        model.pool.close()
        model.pool, model.n_threads, model.n_threads_batch = Pool(THREADS, plan=self.plan), THREADS, THREADS
        self.pool = model.pool
        session = model.session(64)
        try:
            session.append([1, 2, 3])
            ops = for_cpu(session._graph.ops)
            before = lib.lf_pool_barriers(self.pool.handle)
            log = ffi.new("lf_taking[]", LOG)
            lib.lf_pool_watch(self.pool.handle, log, LOG)
            session.append([4])
            self.barriers = lib.lf_pool_barriers(self.pool.handle) - before
            taken = lib.lf_pool_watch(self.pool.handle, ffi.NULL, 0)
            self.taken = [(t.op, t.thread, t.unit, t.n) for t in log[0:taken]]
        finally:
            session.close()
        self.stretches = _stretches(ops, {op: n for op, _, _, n in self.taken})

    def deal(self, stretch, paces):
        """Share a stretch's products out once more, to threads of different paces that ask when they are ready.

        Returns (product, unit, thread) of every unit, and the time that the last thread was done at; a unit's bytes
        take as long at pace 1.
        """
        self.pool.use(1)
        self.pool.use(THREADS)  # nothing is taken
        units = [[ffi.new("lf_units *", {"n": n}) for _, _, n, _ in stretch] for _ in paces]
        owners, last = [], 0.0
        waiting = [(0.0, thread, 0) for thread in range(len(paces))]
        while waiting:
            now, thread, product = heapq.heappop(waiting)
            last = max(last, now)
            size, _, n, place = stretch[product]
            unit = lib.lf_pool_deal(self.pool.handle, thread, place, units[thread][product])
            if unit < n:
                owners.append((product, unit, thread))
                heapq.heappush(waiting, (now + size / n * paces[thread], thread, product))
            elif product + 1 < len(stretch):
                heapq.heappush(waiting, (now, thread, product + 1))
        return owners, last

    def counts(self):
        """What two tokens' dealing comes to, by name: threads of one pace, and ones that differ by up to a tenth."""
        pick, took, ideal, old, idle, same, chance = random.Random(7), 0.0, 0.0, 0.0, 0, 0.0, 0.0
        read: Counter = Counter()
        for stretch in self.stretches:
            owners, last = self.deal(stretch, [1.0] * THREADS)
            took, ideal = took + last, ideal + sum(size for size, *_ in stretch) / THREADS
            idle += THREADS - len({thread for _, _, thread in owners})
            old += _from_one_counter(stretch, [1.0] * THREADS)[1]
            paces = [[pick.uniform(0.9, 1.1) for _ in range(THREADS)] for _ in range(2)]
            tokens = [{(p, u): self.plan.members[thread] for p, u, thread in self.deal(stretch, pace)[0]}
                      for pace in paces]  # fmt: skip
            chance += sum(size * (self.plan.members[a] == self.plan.members[b]) for (size, a), (_, b) in
                          zip(*(_from_one_counter(stretch, pace)[0] for pace in paces)))  # fmt: skip
            for (product, unit), node in tokens[1].items():
                each = stretch[product][0] / stretch[product][2]
                read[node] += each
                same += each * (tokens[0][product, unit] == node)
        total = sum(read.values())
        return {"slowest": took / ideal, "before": old / ideal, "idle": idle / len(self.stretches) / THREADS,
                "least": min(read.values()) / total, "most": max(read.values()) / total, "same": same / total,
                "chance": chance / total, "line": max(Counter(self.plan.groups).values())}


def _stretches(ops, units):
    """Products between one meeting of the threads and the next: lists of (bytes, rows, units, place)."""
    found, now, place = [], [], 0
    for i, op in enumerate(ops):
        if op.op.name in PRODUCTS:
            now.append((bytes_of(op.inputs[1], {}), op.inputs[1].shape[-2], units[i], place))
        place += 1
        if not op.flags & program.NO_BARRIER:
            if now:
                found.append(now)
            now, place = [], 0
    return found


def _from_one_counter(stretch, paces):
    """What deal gives where threads take OLD_TURN rows at a time from one counter: (bytes, thread), and the end."""
    ready, owners = [(0.0, thread) for thread in range(len(paces))], []
    for size, rows, _, _ in stretch:
        turns = -(-rows // OLD_TURN)
        for _ in range(turns):
            now, thread = ready[0]
            owners.append((size / turns, thread))
            heapq.heapreplace(ready, (now + size / turns * paces[thread], thread))
    return owners, max(ready)[0]


def measure(report, options):
    """Report barriers, balance and nearness of one token, for each model and layout."""
    named = {"SmolLM2 Q4_1": models.fetched(report, "smollm2")}
    if options.large and named["SmolLM2 Q4_1"]:
        named["1.1B Q4_0"] = models.large(report, named["SmolLM2 Q4_1"], "Q4_0")
    for name, path in named.items():
        if path:
            model = Model.open(str(Path(path)), n_threads=1)
            for count, cores in LAYOUTS:
                _report(report, f"{name}, {count} x {cores} cores", Step(model, count, cores))
            model.close()


def _report(report, what, step):
    counts = step.counts()
    report.add("cores", what, "barriers a token", step.barriers, "")
    report.add("cores", what, "threads on a barrier's line", counts["line"], "")
    report.add("cores", what, "slowest thread / mean", counts["slowest"], "x")
    report.add("cores", what, "the same in turns of 32", counts["before"], "x")
    report.add("cores", what, "threads with nothing to do", 100 * counts["idle"], "%")
    report.add("cores", what, "read by a node, least", 100 * counts["least"], "%")
    report.add("cores", what, "read by a node, most", 100 * counts["most"], "%")
    report.add("cores", what, "of it read there before too", 100 * counts["same"], "%")
    report.add("cores", what, "the same from one counter", 100 * counts["chance"], "%")
