"""Whether a model and its context fit in memory: what they need, what the machine has, the context that would fit."""

from __future__ import annotations

from llamafile.errors import LlamafileError

PROC = "/proc/meminfo"
CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def available():
    """Bytes that this process may still use, page cache that can be dropped included; None where nobody says."""
    found = []
    for line in _read(PROC).splitlines():
        if line.startswith("MemAvailable:"):
            found.append(int(line.split()[1]) * 1024)
    for limit, used in CGROUPS:
        if _read(limit).strip().isdigit() and _read(used).strip().isdigit():
            found.append(max(0, int(_read(limit)) - int(_read(used))))
    return min(found) if found else None


def _read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def check(label, weights, image, n_ctx):
    """Raise where cache and scratch cannot fit; return a warning where the weights do not fit beside them, else None.

    Mapped weights that do not fit are read from the disk again and again: slow, but it works.
    """
    has = available()
    if has is None:
        return None
    if image.cache + image.arena > has:
        fits = max(0, has - image.arena) * n_ctx // max(1, image.cache) // 64 * 64
        advice = f"use -c {fits}" if fits else "choose a smaller model"
        raise LlamafileError(f"{label}: a context of {n_ctx} tokens needs {_size(image.cache + image.arena)} of memory "
                             f"besides {_size(weights)} of weights, {_size(has)} are there; {advice}")
    if weights + image.cache + image.arena > has:
        return (f"{label}: needs {_size(weights + image.cache + image.arena)} of memory, {_size(has)} are there: "
                "weights will be read from the disk over and over; a smaller -c or model is faster")
    return None


def _size(n):
    return f"{n / 2**30:.1f} GiB" if n >= 1 << 30 else f"{n / 2**20:.0f} MiB"


def weights_of(file, image):
    """Bytes of the weights of an open GGUF that the CPU reads: what only a device reads stays out."""
    elsewhere = sum(size for part in image.device_weights.values() for _, _, size in part)
    return max(0, sum(tensor.nbytes for tensor in file.tensors.values()) - elsewhere)
