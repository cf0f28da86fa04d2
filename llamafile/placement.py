"""Which device runs which op, what is made again there instead of copied, and the copies at the seams."""

from __future__ import annotations

from llamafile.errors import LlamafileError
from runtime import program

from .graph import Op, Tensor
from .schedule import CPU, root

HOLES = 3  # ops a layer that a device may leave to the CPU; with more, copies cost more than the device gains
# Small results: a device that needs one makes its own. Activations in integer form look different on each device.
MADE_AGAIN = ("rotation", "quantize_rows")
EXPERTS = ("matmul_ids", "matmul_ids_quantized")  # what comes from the first of them to the sum belongs together


class Refused(LlamafileError):
    """A device lacks so many kernels that it is of no use for this model."""


class Placement:
    """A device for each layer, for the ops before the first and those after the last; 0 is the CPU, cards count from 1.

    With cache_on_cpu the caches stay in the host's memory, and so does attention; the experts of the first cpu_experts
    layers stay with the CPU too. `serves(ops, image)` tells of each op of a packed image whether its device has a
    kernel for it.
    """

    __slots__ = ("after", "before", "cache_on_cpu", "cpu_experts", "layers", "serves")

    def __init__(self, layers, before=CPU, after=CPU, cache_on_cpu=False, cpu_experts=0, serves=None):
        self.layers, self.before, self.after = tuple(layers), before, after
        self.cache_on_cpu, self.cpu_experts, self.serves = cache_on_cpu, cpu_experts, serves

    def over(self, ops):
        """Yield where each op of a graph is to run."""
        begun = experts = False
        for op in ops:
            begun = begun or op.layer >= 0
            experts = experts or op.op.name in EXPERTS
            cached = any(t is not None and root(t).home == program.CACHE for t in op.inputs)
            if (self.cache_on_cpu and cached) or (experts and op.layer < self.cpu_experts):
                yield CPU
            elif op.layer < 0:
                yield self.after if begun else self.before
            else:
                yield self.layers[op.layer]
            experts = experts and op.op.name != "weighted_sum"


def assign(ops, placement):
    """The same ops, each with its device."""
    return [Op(op.op, op.outputs, op.inputs, op.attrs, op.layer, device)
            for op, device in zip(ops, placement.over(ops))]  # fmt: skip


def fill_holes(ops, served, label):
    """Give what a device has no kernel for to the CPU; raises Refused where that is too much."""
    holes = [op for op, good in zip(ops, served) if not good]
    layers = len({op.layer for op in ops if op.device != CPU}) or 1
    if len(holes) > HOLES * layers:
        names = ", ".join(sorted({op.op.name for op in holes}))
        raise Refused(f"{label}: the GPU module has no kernels for {names}; use --gpu disable")
    for op in holes:
        op.device = CPU


def place_caches(ops):
    """Put each cache where the ops are that touch it; ops that disagree, because of a hole, go to the CPU together."""
    touching: dict[int, list[Op]] = {}
    for op in ops:
        for t in (*op.inputs, *op.outputs):
            if t is not None and root(t).home == program.CACHE:
                touching.setdefault(root(t).index, []).append(op)
    changed = True
    while changed:  # an op touches two caches: moving it may move the other one's ops too
        changed = False
        for group in touching.values():
            devices = {op.device for op in group}
            if len(devices) > 1:
                changed = True
                for op in group:
                    op.device = CPU
    for index, group in touching.items():
        group[0].inputs[0].graph.tensors[index].device = group[0].device


def make_again(ops):
    """Let each device make its own small results, right before it needs them."""
    makers = {op.outputs[0].index: op for op in ops if op.op.name in MADE_AGAIN}
    made: dict[tuple[int, int], Tensor] = {}
    out = []
    for op in ops:
        inputs = list(op.inputs)
        for i, t in enumerate(inputs):
            maker = makers.get(t.index) if t is not None else None
            if maker is None or maker.device == op.device:
                continue
            key = t.index, op.device
            if key not in made:
                made[key] = Tensor(t.graph, t.dtype, t.shape, program.ARENA, t.name)
                out.append(Op(maker.op, (made[key],), maker.inputs, maker.attrs, op.layer, op.device))
            inputs[i] = made[key]
        op.inputs = tuple(inputs)
        out.append(op)
    read = {t.index for op in out for t in op.inputs if t is not None}
    return [op for op in out if op.op.name not in MADE_AGAIN or op.outputs[0].index in read]


class Segment:
    """A run of ops for one device, the tensors to bring before it, and those to take back to the host after it."""

    __slots__ = ("bring", "count", "device", "first", "take")

    def __init__(self, device, first):
        self.device, self.first, self.count = device, first, 0
        self.bring: list[Tensor] = []
        self.take: list[Tensor] = []


def segments(ops, result):
    """Cut the list of ops where the device changes; the result is to be found on the host."""
    found: list[Segment] = []
    valid: dict[int, set[int]] = {}  # of an arena tensor: where its value is
    maker: dict[int, Segment] = {}

    def need(t, segment, device):
        where = valid.get(t.index)
        if where is None or device in where:
            return
        if CPU not in where:  # all copies go by the host
            maker[t.index].take.append(t)
            where.add(CPU)
        if device != CPU:
            segment.bring.append(t)
            where.add(device)

    for i, op in enumerate(ops):
        if not found or found[-1].device != op.device:
            found.append(Segment(op.device, i))
        here = found[-1]
        here.count += 1
        for t in op.inputs:
            if t is not None and root(t).home == program.ARENA:
                need(root(t), here, op.device)
        for t in op.outputs:
            whole = root(t)
            if whole.home != program.ARENA:
                continue
            if whole is not t:  # a part is written: the rest of it must be here
                need(whole, here, op.device)
            valid[whole.index], maker[whole.index] = {op.device}, here
    if found and root(result).home == program.ARENA:
        need(root(result), found[-1], CPU)
    return found
