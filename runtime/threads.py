"""The pool of threads that runs programs, and how many threads are worth having."""

from __future__ import annotations

import os

from ._core import ffi, lib
from .ops import RuntimeFault


class Pool:
    """n threads, the caller's among them; `handle` is what C's lf_open takes."""

    def __init__(self, n):
        self.threads = n
        self.handle = lib.lf_pool_new(n)
        if self.handle == ffi.NULL:
            raise RuntimeFault(f"threads: {n} cannot be started; give fewer with -t")

    def use(self, n):
        """Run on only n of the threads from now on."""
        lib.lf_pool_use(self.handle, n)

    def close(self):
        """Stop and join the threads."""
        lib.lf_pool_free(self.handle)
        self.handle = ffi.NULL


def physical_cores():
    """Cores that this process may run on, hyperthreads counted once; at least 1."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores = set()
    for cpu in allowed:
        try:
            with open(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") as file:
                cores.add(file.read())
        except OSError:
            cores.add(str(cpu))
    return max(1, len(cores))
