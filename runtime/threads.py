"""The pool of threads that runs programs, and how many threads are worth having."""

from __future__ import annotations

import os

from ._core import ffi, lib
from .ops import RuntimeFault

ROOT = "/sys/devices/system"
FEW = 4  # so many threads are at home on any node
_CORES: dict[tuple[str, int], str] = {}  # what was read so far: a large machine has hundreds of files


class Pool:
    """n threads, the caller's among them; `handle` is what C's lf_open takes.

    `plan` says where they work (a nodes.Plan; by default made with `numa` and `strict`), None: the system places them.
    """

    def __init__(self, n, numa="", strict=False, plan=None):
        self.threads, self.plan = n, plan
        if plan is None and (n > FEW or numa or strict):
            from . import nodes

            self.plan = nodes.plan(n, numa, strict)
        self.handle = lib.lf_pool_new(n, self.plan.groups if self.plan is not None else ffi.NULL)
        if self.handle == ffi.NULL:
            raise RuntimeFault(f"threads: {n} cannot be started; give fewer with -t")
        for i, cpus in enumerate(self.plan.cpus if self.plan is not None else ()):
            if cpus:
                lib.lf_pool_bind(self.handle, i, cpus, len(cpus))  # what cannot be bound runs anywhere

    def settle(self):
        """Let the calling thread, which runs programs from now on, keep to the place of the first one."""
        lib.lf_pool_settle(self.handle)

    def use(self, n):
        """Run on only n of the threads from now on."""
        lib.lf_pool_use(self.handle, n)

    def spin(self, percent):
        """How long threads wait before they sleep: 50 of 100 is the ordinary."""
        lib.lf_pool_spin(self.handle, percent)

    def close(self):
        """Stop and join the threads."""
        lib.lf_pool_free(self.handle)
        self.handle = ffi.NULL


def allowed():
    """The numbers of the processors that this process may use."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def siblings(cpu, root=ROOT):
    """What names the core of a processor: the same text for all its hyperthreads."""
    if (root, cpu) not in _CORES:
        try:
            with open(f"{root}/cpu/cpu{cpu}/topology/thread_siblings_list") as file:
                _CORES[root, cpu] = file.read()
        except OSError:
            _CORES[root, cpu] = str(cpu)
    return _CORES[root, cpu]


def physical_cores():
    """Cores that this process may run on, hyperthreads counted once; at least 1."""
    return max(1, len({siblings(cpu) for cpu in allowed()}))
