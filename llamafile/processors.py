"""Which processors the engine may use, and how readily: --cpu-mask, --cpu-range, --numa isolate and --prio."""

from __future__ import annotations

import os

from llamafile.errors import LlamafileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from llamafile.arguments import Options

NICE = {-1: 5, 1: -5, 2: -10, 3: -20}  # of --prio; 0 leaves it alone


def choose(options: Options, note: Callable[[str], None]) -> None:
    """Keep the calling thread, and those that it starts from here on, to what the flags say; raises LlamafileError.

    `note` is told what the system does not allow.
    """
    if options.prio:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, NICE[options.prio])
        except OSError as problem:
            note(f"--prio {options.prio}: {problem.strerror}; root may, or whom `ulimit -e` lets")
    if not (options.cpu_mask or options.cpu_range or options.numa == "isolate"):
        return
    if not hasattr(os, "sched_setaffinity"):
        note("processors cannot be chosen on this system")
        return
    cpus = os.sched_getaffinity(0)
    for name, text, read in (("--cpu-mask", options.cpu_mask, of_mask), ("--cpu-range", options.cpu_range, of_range)):
        if text:
            wanted = read(text)
            if not cpus & wanted:
                raise LlamafileError(f"{name} {text}: has none of the processors that may be used, "
                                     f"{spelled(cpus)}; choose some of them")
            cpus = cpus & wanted
    if options.numa == "isolate":
        cpus = _node_of(_running_on(), cpus)
    try:
        os.sched_setaffinity(0, cpus)
    except OSError as problem:
        raise LlamafileError(f"processors {spelled(cpus)} cannot be chosen here: {problem.strerror}; leave out "
                             "--cpu-mask, --cpu-range and --numa") from None


def of_mask(text: str) -> set[int]:
    """Return the processors of a hexadecimal mask, the last digit's lowest bit is 0; raises LlamafileError."""
    digits = text[2:] if text[:2] in ("0x", "0X") else text
    if not digits or set(digits) - set("0123456789abcdefABCDEF") or len(digits) > 256:
        raise LlamafileError(f"--cpu-mask {text}: is not a hexadecimal number of at most 256 digits; f is the first "
                             "four processors")
    mask = int(digits, 16)
    return {i for i in range(mask.bit_length()) if mask >> i & 1}


def of_range(text: str) -> set[int]:
    """Return the processors LO to HI, where either may be left out; raises LlamafileError."""
    low, dash, high = text.partition("-")
    if not dash or not (low + high).isdecimal() or not (low + high).isascii() or len(low + high) > 8:
        raise LlamafileError(f"--cpu-range {text}: is not LO-HI; 0-3 is the first four processors")
    last = min(int(high), 1023) if high else 1023
    return set(range(int(low) if low else 0, last + 1))


def spelled(cpus: set[int]) -> str:
    """Return numbers of processors as 0-3,8."""
    parts: list[list[int]] = []
    for cpu in sorted(cpus):
        if parts and cpu == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], cpu]
        else:
            parts.append([cpu])
    return ",".join("-".join(map(str, part)) for part in parts)


def _running_on() -> int:
    """Return the processor that this thread runs on, or -1."""
    try:
        with open("/proc/thread-self/stat") as file:
            return int(file.read().rpartition(")")[2].split()[36])
    except (OSError, ValueError, IndexError):
        return -1


def _node_of(cpu: int, cpus: set[int]) -> set[int]:
    """Return those of the processors that share a memory node with one of them; all where that cannot be told."""
    from runtime import nodes

    return next((set(node.cpus) for node in nodes.layout(cpus) if cpu in node.cpus), cpus)
