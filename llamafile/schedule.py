"""The CPU's ops in the form and order in which its threads wait for each other least: seams as one op, few barriers."""

from __future__ import annotations

from runtime import program
from runtime.ops import OPS

from .graph import Op

NORMS = {"rms_norm": "rms_norm_quantize", "add_rms_norm": "add_rms_norm_quantize"}
GATES = {"swiglu": "swiglu_quantize", "geglu": "geglu_quantize"}
TOGETHER = 4  # as LF_TOGETHER in runtime/program.h
CPU = 0


def join(ops):
    """Put one op in the place of a norm or an activation and its integer form, and of a rotation and its store."""
    readers: dict[int, list] = {}
    for op in ops:
        for t in op.inputs:
            if t is not None:
                readers.setdefault(t.index, []).append(op)
    changed, gone = {}, set()
    for op in ops:
        name, made = op.op.name, op.outputs[-1]
        after = [other for other in readers.get(made.index, ()) if other.device == op.device]
        if op.device != CPU or not after:
            continue
        integers = next((other for other in after if other.op.name == "quantize_rows"), None)
        alone = len(readers[made.index]) == 1
        if integers and name in NORMS and len(made.shape) == 2:
            changed[op] = _instead(op, NORMS[name], (*op.outputs, integers.outputs[0]), op.inputs)
            gone.add(integers)
        elif integers and name in GATES and alone:
            changed[op] = _instead(op, GATES[name], integers.outputs, op.inputs)
            gone.add(integers)
        elif name == "rope" and alone and after[0].op.name == "store" and after[0].inputs[0] is made:
            store = after[0]
            changed[store] = _instead(op, "rope_store", store.outputs, (*op.inputs, *store.inputs[1:]))
            gone.add(op)
    return [changed.get(op, op) for op in ops if op not in gone]


def _instead(op, name, outputs, inputs):
    return Op(OPS[name], outputs, inputs, op.attrs, op.layer, op.device)


def order(ops):
    """Bring what can run at once side by side: a layer's ops by how many others, in a row, each must wait for."""
    out: list[Op] = []
    stretch: list[Op] = []
    for op in ops:
        if stretch and (op.layer != stretch[-1].layer or op.device != stretch[-1].device):
            out += _by_depth(stretch)
            stretch = []
        stretch.append(op)
    return out + _by_depth(stretch)


def _by_depth(stretch):
    """The ops of the CPU, those first that depend on the fewest."""
    if not stretch or stretch[0].device != CPU:
        return stretch
    written: dict[int, int] = {}  # of a tensor: how deep its last writer is
    read: dict[int, int] = {}
    depths = []
    for op in stretch:
        reads, writes = touched(op)
        depth = max([written.get(i, -1) for i in reads | writes] + [read.get(i, -1) for i in writes]) + 1
        for i in writes:
            written[i] = depth
        for i in reads:
            read[i] = max(read.get(i, -1), depth)
        depths.append(depth)
    return [stretch[i] for i in sorted(range(len(stretch)), key=depths.__getitem__)]


def touched(op):
    """What an op reads, and what it writes: indices of whole tensors; weights and inputs are never written."""
    reads = {root(t).index for t in op.inputs if t is not None and root(t).home not in (program.WEIGHT, program.INPUT)}
    return reads, {root(t).index for t in op.outputs}


def root(tensor):
    """The tensor that a view looks into, at last."""
    while tensor.home == program.VIEW:
        tensor = tensor.graph.tensors[tensor.base]
    return tensor


def drop_barriers(ops):
    """Mark each op of the CPU after which threads need not meet: the next one has nothing to do with it, nor with
    those before it back to the last meeting."""
    group: list[Op] = []
    reads: set[int] = set()
    writes: set[int] = set()
    for op in ops:
        its_reads, its_writes = touched(op)
        free = not (its_reads & writes or its_writes & (reads | writes)) and op.device == CPU
        if group and free and len(group) < TOGETHER and group[-1].device == CPU and not (
            uses_shared_memory(op) and any(map(uses_shared_memory, group))
        ):  # fmt: skip
            group[-1].flags = program.NO_BARRIER
        else:
            group, reads, writes = [], set(), set()
        group.append(op)
        reads |= its_reads
        writes |= its_writes
    return ops


def uses_shared_memory(op):
    """Whether an op's threads leave things for each other in the memory that all ops share for that."""
    return op.op.name == "attention" or (op.op.name == "matmul" and op.inputs[1].dtype == "bf16")
