"""Lowering: a graph becomes the flat program: integer activations, fused seams, a planned arena, packed records."""

from __future__ import annotations

import struct

from runtime import program
from runtime.ops import OPS
from runtime.quants import FORMATS

from . import schedule
from .arena import bytes_of, plan_arena
from .graph import Op, Size, Tensor

FLOATS = ("f32", "f16", "bf16")
INTEGER_FORM = {"matmul": "matmul_quantized", "matmul_ids": "matmul_ids_quantized"}


class Image:
    """The packed program: bytes of each table, what the letters may be at most, and how much memory the homes need."""

    __slots__ = ("arena", "cache", "device_caches", "device_weights", "logits", "maximum", "ops", "pool", "segments",
                 "sizes", "slots", "tensors")  # fmt: skip
    tensors: bytes
    sizes: bytes
    ops: bytes
    pool: bytes
    segments: bytes
    maximum: dict[str, int]
    slots: dict[str, int]
    arena: int
    cache: int
    device_caches: dict[int, int]
    device_weights: dict[int, list[tuple[int, int, int]]]
    logits: int


def lower(graph, logits, letters):
    """Return the Image of a graph whose result is `logits`, for sizes up to letters' (a dict of T, S, O, C, P)."""
    image = Image()
    image.maximum, image.logits, image.slots = letters, logits.index, dict(graph.slots)
    placement, pieces = graph.placement, None
    image.device_weights = {}
    if placement is None:
        fused = for_cpu(graph.ops)
    else:
        fused, pieces = _spread(image, graph, logits, placement)
    image.arena = plan_arena(graph.tensors, fused, letters)
    image.cache, image.device_caches = place_cache(graph.caches, letters)
    _pack(image, graph.tensors, fused, pieces)
    return image


def _spread(image, graph, logits, placement):
    """The ops on their devices, and the segments; what a device cannot do is given to the CPU."""
    from llamafile import placement as places

    fused = fuse_seams(use_integers(places.assign(graph.ops, placement)))
    if placement.serves is not None:
        _pack(image, graph.tensors, fused)  # for the modules to look at; it is packed again
        image.logits = logits.index
        places.fill_holes(fused, placement.serves(fused, image), graph.label)
    places.place_caches(fused)
    fused = schedule.order(schedule.join(places.make_again(fused)))
    image.device_weights = _weights_by_device(fused)
    return fused, places.segments(fused, logits)


def for_cpu(ops):
    """A graph's ops as a program of the CPU alone has them."""
    return schedule.order(schedule.join(fuse_seams(use_integers(ops))))


def _weights_by_device(ops):
    """What each device reads of the files and the constants: (mapping, offset, bytes), each once."""
    found: dict[int, dict] = {}
    for op in ops:
        for t in op.inputs if op.device else ():
            whole = None if t is None else schedule.root(t)
            if whole is not None and whole.home == program.WEIGHT:
                found.setdefault(op.device, {})[whole.mapping, whole.offset] = bytes_of(whole, {})
    return {device: [(*key, size) for key, size in part.items()] for device, part in found.items()}


def use_integers(ops):
    """Give products with quantised weights integer activations, made once for all products of the same rows."""
    out, made = [], {}
    for op in ops:
        name = INTEGER_FORM.get(op.op.name)
        if name and op.inputs[1].dtype not in FLOATS:
            x = op.inputs[0]
            if x.index not in made:
                quantized = Tensor(x.graph, "a8", x.shape, program.ARENA, "quantize_rows")
                out.append(Op(OPS["quantize_rows"], (quantized,), (x,), {}, op.layer, op.device))
                made[x.index] = quantized
            op = Op(OPS[name], op.outputs, (made[x.index], *op.inputs[1:]), op.attrs, op.layer, op.device)
        out.append(op)
    return gather_products(out)


def gather_products(ops):
    """Put the products of the same integer activations in a layer behind the first of them: a device may join them."""
    out, done = [], set()
    for i, op in enumerate(ops):
        if i in done:
            continue
        out.append(op)
        if op.op.name != "matmul_quantized":
            continue
        for j in range(i + 1, min(i + 16, len(ops))):
            other = ops[j]
            if other.op is op.op and other.inputs[0] is op.inputs[0] and other.layer == op.layer and j not in done:
                out.append(other)
                done.add(j)
    return out


def fuse_seams(ops):
    """Replace an addition and the norm of its sum right after it by one op."""
    out: list[Op] = []
    for op in ops:
        before = out[-1] if out else None
        if (
            op.op.name == "rms_norm" and before and before.op.name == "add"
            and op.inputs[0] is before.outputs[0] and len(op.inputs[0].shape) == 2 and op.device == before.device
        ):  # fmt: skip
            out[-1] = Op(OPS["add_rms_norm"], (before.outputs[0], op.outputs[0]),
                         (*before.inputs, op.inputs[1]), op.attrs, op.layer, op.device)  # fmt: skip
        else:
            out.append(op)
    return out


def place_cache(caches, letters):
    """Give each cache tensor its place; returns the bytes that those of the CPU take, and those of each device."""
    sizes = {0: 0}
    for t in caches:
        t.offset = sizes.get(t.device, 0)
        sizes[t.device] = t.offset + -(-bytes_of(t, letters) // 4096) * 4096
    return sizes.pop(0), sizes


def _pack(image, tensors, ops, pieces=None):
    """Pack the records; tensors that nothing reads any more stay out. Without pieces all is one segment of the CPU."""
    used: set = set()
    for op in ops:
        for t in (*op.outputs, *op.inputs):
            while t is not None and t.index not in used:
                used.add(t.index)
                t = tensors[t.base] if t.home == program.VIEW else None
    used.update(t.index for t in tensors if t.home == program.INPUT)
    order = {index: i for i, index in enumerate(sorted(used))}
    sizes: dict[Size, int] = {}
    image.tensors = b"".join(_tensor(tensors[index], order, sizes) for index in order)
    letters = program.LETTERS
    image.sizes = b"".join(program.SIZE.pack(letters.index(s.letter), s.mul, s.add, s.div) for s in sizes)
    records: list[bytes] = []
    pool: list[int] = []
    for op in ops:
        attrs = [program.attribute(float(op.attrs[n]) if kind == "float" else op.attrs[n])
                 for n, kind in op.op.attrs.items()]  # fmt: skip
        counts = len(op.outputs), len(op.inputs), len(attrs), 0
        records.append(program.OP.pack(op.op.code, op.flags, op.layer, op.device, len(pool), *counts))
        pool += [program.NONE if t is None else order[t.index] for t in (*op.outputs, *op.inputs)]
        pool += attrs
    cuts: list[bytes] = []
    for piece in pieces or ():
        cuts.append(program.SEGMENT.pack(piece.device, len(piece.bring), len(piece.take), 0, piece.first, piece.count,
                                         len(pool)))  # fmt: skip
        pool += [order[t.index] for t in (*piece.bring, *piece.take)]
    image.ops, image.pool = b"".join(records), struct.pack(f"<{len(pool)}i", *pool)
    image.segments = b"".join(cuts) or program.SEGMENT.pack(0, 0, 0, 0, 0, len(ops), 0)
    image.logits = order[image.logits]


def _tensor(t, order, sizes):
    """The record of one tensor, dimensions innermost first."""
    ne = [n if type(n) is int else -1 - sizes.setdefault(n, len(sizes)) for n in reversed(t.shape)]
    strides = list(reversed(t.strides))
    ne += [1] * (4 - len(ne))
    strides += [0] * (4 - len(strides))
    base = order[t.base] if t.home == program.VIEW else t.base
    return program.TENSOR.pack(_dtype(t.dtype), t.home, base, *ne, *strides, t.offset, t.mapping, t.device, 0)


def _dtype(name):
    return program.A8 if name == "a8" else FORMATS[name].id
