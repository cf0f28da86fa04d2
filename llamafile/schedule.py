"""The CPU's ops in the form and order in which its threads wait for each other least: seams as one op, few barriers."""

from __future__ import annotations

from runtime import program
from runtime.ops import OPS

from .graph import Op

NORMS = {"rms_norm": "rms_norm_quantize", "add_rms_norm": "add_rms_norm_quantize"}
GATES = {"swiglu": "swiglu_quantize", "geglu": "geglu_quantize"}
TOGETHER = 4  # as LF_TOGETHER in runtime/program.h
PRODUCT = "matmul_quantized"
MAY_JOIN = {*NORMS, *GATES, PRODUCT, "rope"}
NEVER_WRITTEN = (program.WEIGHT, program.INPUT)
CPU = 0


def join(ops):
    """Put one op in the place of a norm or an activation and its integer form, and of a rotation and its store.

    Two products that only an activation reads become one op with it.
    """
    readers: dict[int, list[Op]] = {
        op.outputs[-1].index: [] for op in ops if op.op.name in MAY_JOIN and op.device == CPU
    }
    viewed = set()
    for op in ops:
        for t in op.inputs:
            if t is not None and t.index in readers:
                readers[t.index].append(op)
            elif t is not None and t.home == program.VIEW:
                viewed.add(root(t).index)
    made_by = {
        op.outputs[0].index: op for op in ops
        if op.op.name == PRODUCT and op.device == CPU and op.outputs[0].index not in viewed
    }  # fmt: skip
    changed, gone = {}, set()
    for op in ops:
        name, made = op.op.name, op.outputs[-1]
        after = readers.get(made.index) if name in MAY_JOIN else None
        if not after:
            continue
        integers = next((other for other in after if other.op.name == "quantize_rows" and other.device == CPU), None)
        if integers and name in NORMS and len(made.shape) == 2:
            changed[op] = _instead(op, NORMS[name], (*op.outputs, integers.outputs[0]), op.inputs)
            gone.add(integers)
        elif integers and name in GATES and len(after) == 1:
            changed[op] = _instead(op, GATES[name], integers.outputs, op.inputs)
            gone.add(integers)
            gate, up = (made_by.get(t.index) for t in op.inputs)
            if gate and up and _gated(gate, up, readers):
                gone.update((gate, up))
                inputs = (*gate.inputs, up.inputs[1])
                changed[op] = Op(OPS["gated_products"], integers.outputs, inputs, {"gelu": int(name == "geglu")},
                                 op.layer, op.device)  # fmt: skip
        elif name == "rope" and len(after) == 1 and _stores(after[0], made):
            store = after[0]
            changed[store] = _instead(op, "rope_store", store.outputs, (*op.inputs, *store.inputs[1:]))
            gone.add(op)
    return [changed.get(op, op) for op in ops if op not in gone]


def _gated(gate, up, readers):
    """Whether two products are of the same rows, end in whole blocks, and are each read once."""
    return (
        gate is not up and gate.inputs[0] is up.inputs[0] and gate.outputs[0].shape[-1] % 32 == 0
        and all(len(readers[op.outputs[0].index]) == 1 for op in (gate, up))
    )  # fmt: skip


def _stores(op, tensor):
    return op.op.name == "store" and op.device == CPU and op.inputs[0] is tensor


def _instead(op, name, outputs, inputs):
    return Op(OPS[name], outputs, inputs, op.attrs, op.layer, op.device)


def order(ops):
    """Bring what can run at once side by side: a layer's ops by how many others, in a row, each must wait for.

    Each op of the CPU after which threads need not meet is marked: the next one has nothing to do with it, nor with
    those before it back to the last meeting.
    """
    out: list[Op] = []
    stretch: list[Op] = []
    for op in ops:
        if stretch and (op.layer != stretch[-1].layer or op.device != stretch[-1].device):
            out += _arranged(stretch)
            stretch = []
        stretch.append(op)
    return out + _arranged(stretch)


def _arranged(stretch):
    """The ops of the CPU, those first that depend on the fewest, with their marks; other ones as they are."""
    if not stretch or stretch[0].device != CPU:
        return stretch
    written: dict[int, int] = {}  # of a tensor: how deep its last writer is
    read: dict[int, int] = {}
    found = []
    for op in stretch:
        reads, writes = touched(op)
        depth = -1
        for i in reads:
            depth = max(depth, written.get(i, -1))
        for i in writes:
            depth = max(depth, written.get(i, -1), read.get(i, -1))
        depth += 1
        for i in writes:
            written[i] = depth
        for i in reads:
            read[i] = max(read.get(i, -1), depth)
        found.append((depth, op))
    found.sort(key=_depth)
    together, shared = 1, False
    for i, (depth, op) in enumerate(found[:-1], 1):
        depth_after, after = found[i]
        shared = shared or uses_shared_memory(op)
        if depth == depth_after and together < TOGETHER and not (shared and uses_shared_memory(after)):
            op.flags = program.NO_BARRIER
            together += 1
        else:
            together, shared = 1, False
    return [op for _, op in found]


def _depth(pair):
    return pair[0]


def touched(op):
    """What an op reads, and what it writes: indices of whole tensors; weights and inputs are never written."""
    reads = set()
    for t in op.inputs:
        if t is not None and t.home not in NEVER_WRITTEN:
            t = root(t)
            if t.home not in NEVER_WRITTEN:
                reads.add(t.index)
    return reads, {root(t).index for t in op.outputs}


def root(tensor):
    """The tensor that a view looks into, at last."""
    while tensor.home == program.VIEW:
        tensor = tensor.graph.tensors[tensor.base]
    return tensor


def uses_shared_memory(op):
    """Whether an op's threads leave things for each other in the memory that all ops share for that."""
    return op.op.name == "attention" or (op.op.name == "matmul" and op.inputs[1].dtype == "bf16")
