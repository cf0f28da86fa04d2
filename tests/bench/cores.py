"""More cores than this machine has: how a step's products are shared out on memory nodes that are only counted."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from pathlib import Path

from llamafile.lower import bytes_of, for_cpu
from llamafile.model import Model
from runtime import nodes
from runtime._core import ffi, lib
from runtime.threads import Pool

from . import models

THREADS = 64
LAYOUTS = ((4, 16), (2, 32))
PRODUCTS = ("matmul", "matmul_quantized")
LOG = 1 << 20
OLD_TURN = 32  # rows that a thread took at a time before, from one counter


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
            self.products = [(i, op.inputs[1]) for i, op in enumerate(for_cpu(session._graph.ops))
                             if op.op.name in PRODUCTS]
            before = lib.lf_pool_barriers(self.pool.handle)
            log = ffi.new("lf_taking[]", LOG)
            lib.lf_pool_watch(self.pool.handle, log, LOG)
            session.append([4])
            self.barriers = lib.lf_pool_barriers(self.pool.handle) - before
            taken = lib.lf_pool_watch(self.pool.handle, ffi.NULL, 0)
            self.taken = [(t.op, t.thread, t.unit, t.n) for t in log[0:taken]]
        finally:
            session.close()
        units = {op: n for op, _, _, n in self.taken}
        self.units = [(bytes_of(w, {}), w.shape[-2], units[i]) for i, w in self.products]

    def deal(self, seed):
        """Share the step's products out once more, to threads whose paces differ by up to a tenth.

        Returns for each product the thread that took each unit: threads ask when they have done what they took.
        """
        dealt, paces = [], random.Random(seed)
        for _, _, n in self.units:
            self.pool.use(1)
            self.pool.use(THREADS)  # nothing is taken
            units = [ffi.new("lf_units *", {"n": n}) for _ in range(THREADS)]
            owners = [0] * n
            waiting = [(paces.random() * 0.1, thread, paces.uniform(0.9, 1.1)) for thread in range(THREADS)]
            heapq.heapify(waiting)
            while waiting:
                now, thread, pace = heapq.heappop(waiting)
                unit = lib.lf_pool_deal(self.pool.handle, thread, units[thread])
                if unit < n:
                    owners[unit] = thread
                    heapq.heappush(waiting, (now + pace, thread, pace))
            dealt.append(owners)
        return dealt

    def counts(self):
        """What two tokens' dealing comes to, by name."""
        node_of, first, second = self.plan.members, self.deal(1), self.deal(2)
        most = mean = old = idle = same = 0.0
        read = Counter()
        for (size, rows, n), one, two in zip(self.units, first, second):
            each = size / n
            taken = Counter(two)
            most, mean = most + each * max(taken.values()), mean + size / THREADS
            turns = -(-rows // OLD_TURN)
            old += size / turns * -(-turns // THREADS)
            idle += THREADS - len(taken)
            for a, b in zip(one, two):
                read[node_of[b]] += each
                same += each * (node_of[a] == node_of[b])
        total = sum(read.values())
        return {"imbalance": most / mean, "before": old / mean, "idle": idle / len(self.units) / THREADS,
                "least": min(read.values()) / total, "most": max(read.values()) / total, "same": same / total,
                "bytes": total, "line": max(Counter(self.plan.groups).values())}


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
    report.add("cores", what, "slowest thread / mean", counts["imbalance"], "x")
    report.add("cores", what, "the same in turns of 32", counts["before"], "x")
    report.add("cores", what, "threads idle in a product", 100 * counts["idle"], "%")
    report.add("cores", what, "read by a node, least", 100 * counts["least"], "%")
    report.add("cores", what, "read by a node, most", 100 * counts["most"], "%")
    report.add("cores", what, "of it read there before too", 100 * counts["same"], "%")
