"""A graph: the tensors and ops of one architecture for any number of tokens; models fill it, lower packs it."""

from __future__ import annotations

import struct

from llamafile.errors import LlamafileError
from runtime import program
from runtime._core import ffi, lib
from runtime.ops import OPS
from runtime.quants import BY_ID, FORMATS


class Size:
    """A dimension known only at a call: (mul * letter + add) / div."""

    __slots__ = ("add", "div", "letter", "mul")

    def __init__(self, letter, mul=1, add=0, div=1):
        self.letter, self.mul, self.add, self.div = letter, mul, add, div

    def _key(self):
        return self.letter, self.mul, self.add, self.div

    def __eq__(self, other):
        return type(other) is Size and self._key() == other._key()

    def __hash__(self):
        return hash(self._key())

    def __mul__(self, n):
        return Size(self.letter, self.mul * n, self.add * n, self.div)

    def __repr__(self):
        text = f"{self.mul}{self.letter}" if self.mul != 1 else self.letter
        return f"({text} + {self.add}) / {self.div}" if self.add or self.div != 1 else text

    def at(self, letters):
        """The size for given values of the letters."""
        return (self.mul * letters[self.letter] + self.add) // self.div


T, S, O, C, P = (Size(letter) for letter in program.LETTERS)  # noqa: E741


class Tensor:
    """A row of the tensor table; shape and strides (in elements) outermost first, numbers or Sizes."""

    __slots__ = ("base", "device", "dtype", "graph", "home", "index", "mapping", "name", "offset", "shape", "strides")

    def __init__(self, graph, dtype, shape, home, name="", base=0, offset=0, strides=None, mapping=0):
        self.graph, self.dtype, self.shape, self.home, self.name = graph, dtype, shape, home, name
        self.base, self.offset, self.mapping = base, offset, mapping
        self.device = 0  # of a cache: where it lies
        self.strides = strides or contiguous(shape)
        self.index = len(graph.tensors)
        graph.tensors.append(self)

    def view(self, shape, strides, offset=0):
        """Another look at the same values; the offset counts elements from this tensor's first."""
        return Tensor(self.graph, self.dtype, shape, program.VIEW, self.name, self.index, offset, strides)

    def split(self, heads):
        """[..., n] as [..., heads, n / heads]."""
        *rest, n = self.shape
        if n % heads:
            raise LlamafileError(f"{self.graph.label}: {n} values do not split into {heads} heads; the file is damaged")
        size = n // heads
        return self.view((*rest, heads, size), (*self.strides[:-1], size, 1))

    def merge(self):
        """[..., heads, size] as [..., heads * size]."""
        *rest, heads, size = self.shape
        return self.view((*rest, heads * size), (*self.strides[:-2], 1))

    def slice(self, first, count):
        """`count` values of the last dimension from the `first` on."""
        return self.view((*self.shape[:-1], count), self.strides, first)

    def __add__(self, other):
        return OPS["add"](self, other)

    def __mul__(self, by):
        return OPS["mul"](self, by) if isinstance(by, Tensor) else OPS["scale"](self, by=float(by))


def contiguous(shape):
    """The strides of a tensor without gaps; the outermost dimension may be a Size."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step = step * n if isinstance(n, int) else step
    return tuple(reversed(strides))


class Weight:
    """A tensor of the file, named but not yet asked for: the one who asks says its shape."""

    __slots__ = ("graph", "name")

    def __init__(self, graph, name):
        self.graph, self.name = graph, name

    def matrix(self, *shape):
        """The weight with this shape, outermost first, in the file's own format."""
        return self.graph.weight(self.name + ".weight", shape)

    def vector(self, n, kind="weight"):
        """The weight (or bias) of n values as f32."""
        return self.graph.vector(f"{self.name}.{kind}", n)

    def has(self, kind="weight"):
        """Whether the file has it."""
        return f"{self.name}.{kind}" in self.graph.file.tensors


class Layer:
    """The tensors of one layer: layer.attn_q is blk.<i>.attn_q. As a context it tags the ops made inside."""

    __slots__ = ("_graph", "_number")

    def __init__(self, graph, number):
        self._graph, self._number = graph, number

    def __getattr__(self, name):
        return Weight(self._graph, f"blk.{self._number}.{name}")

    def __enter__(self):
        self._graph.current_layer = self._number
        return self

    def __exit__(self, *_):
        self._graph.current_layer = -1


class Op:
    """One record: the declaration, output and input tensors (None: not given), attributes, layer, device (0: CPU)."""

    __slots__ = ("attrs", "device", "flags", "inputs", "layer", "op", "outputs")

    def __init__(self, op, outputs, inputs, attrs, layer, device=0):
        self.op, self.outputs, self.inputs, self.attrs, self.layer = op, outputs, inputs, attrs, layer
        self.device, self.flags = device, 0  # flags: as in runtime/program.h, set by schedule


class Graph:
    """What an architecture builds: inputs that every program has, weights of a file, cache tensors, ops in order."""

    tokens: Tensor
    positions: Tensor
    cells: Tensor
    starts: Tensor
    lengths: Tensor
    pages: Tensor
    cell_positions: Tensor
    rows: Tensor
    hidden: Tensor  # what the last norm gives [O, width]: set by the architecture's head

    INPUTS = (
        ("tokens", (T,)), ("positions", (T,)), ("cells", (T,)), ("starts", (Size("S", 1, 1),)), ("lengths", (S,)),
        ("pages", (S, P)), ("cell_positions", (C,)), ("rows", (O,)),
    )  # fmt: skip

    def __init__(self, file, vocabulary, rope, cache_types=("f16", "f16")):
        self.file, self.label, self.cache_types = file, file.label, cache_types
        self.vocabulary, self.rope = vocabulary, rope  # how many tokens there are; the user's models.positions.Rope
        self.tensors: list[Tensor] = []
        self.ops: list[Op] = []
        self.constants = bytearray()
        self.caches: list[Tensor] = []
        self.known: dict = {}  # weights and constants that were asked for already
        self.current_layer = -1
        self.placement = None  # where layers run (llamafile.placement); None: all on the CPU
        self.slots: dict[str, int] = {}
        for name, shape in self.INPUTS:
            tensor = Tensor(self, "i32", shape, program.INPUT, name, base=len(self.slots))
            self.slots[name] = tensor.base
            setattr(self, name, tensor)

    def layer(self, i):
        """The weights of layer i."""
        return Layer(self, i)

    def top(self, name):
        """A weight outside the layers."""
        return Weight(self, name)

    def weight(self, name, shape):
        """The file's tensor with exactly this shape, outermost first."""
        if name not in self.known:
            found = self.file.need_tensor(name)
            if tuple(reversed(found.ne)) != shape:
                raise LlamafileError(
                    f"{self.label}: tensor {name} is {tuple(reversed(found.ne))}, the architecture needs {shape}; "
                    "the file is damaged or of another architecture"
                )
            self.known[name] = Tensor(self, BY_ID[found.type].name, shape, program.WEIGHT, name,
                                      offset=found.offset, mapping=found.mapping)  # fmt: skip
        return self.known[name]

    def vector(self, name, n):
        """A vector of the file as f32, decoded to a constant where the file has another format."""
        found = self.file.need_tensor(name)
        if BY_ID[found.type].name == "f32" or name in self.known:
            return self.weight(name, (n,))
        return self.constant(name, self.floats(name, n))

    def floats(self, name, n):
        """The n values of a vector of the file, whatever its format."""
        found = self.file.need_tensor(name)
        if found.ne != (n,):
            raise LlamafileError(f"{self.label}: tensor {name} is {found.ne}, the architecture needs ({n},); "
                                 "the file is damaged or of another architecture")
        raw = self.file.mappings[found.mapping].view[found.offset : found.offset + found.nbytes]
        values = ffi.new("float[]", n)
        if lib.lf_decode_rows(found.type, ffi.from_buffer(raw), values, n):
            raise LlamafileError(f"{self.label}: tensor {name} cannot be decoded; take the model in another format")
        return list(values)

    def constant(self, name, values):
        """A vector of f32 that is not in the file."""
        if name not in self.known:
            offset = len(self.constants)
            self.constants += struct.pack(f"<{len(values)}f", *values)
            self.constants += bytes(-len(self.constants) % 64)
            mapping = len(self.file.mappings)  # constants come after the file's own mappings
            self.known[name] = Tensor(self, "f32", (len(values),), program.WEIGHT, name, offset=offset, mapping=mapping)
        return self.known[name]

    def cache(self, name, rows, kind=0):
        """Store rows [T, heads, size] in a cache of their own (0: keys, 1: values); returns it, [C, heads, size]."""
        _, heads, size = rows.shape
        dtype = self.cache_types[kind]
        if size % FORMATS[dtype].block:
            raise LlamafileError(f"{self.label}: heads of {size} values do not fit a {dtype} cache; use f16")
        tensor = Tensor(self, dtype, (C, heads, size), program.CACHE, name)
        self.caches.append(tensor)
        return OPS["store"](rows, tensor, self.cells)

    @property
    def rolls_back(self):
        """Whether rows computed on trial leave nothing behind: cells are written anew, a recurrent state is not."""
        return not any(tensor.home == program.STATE for tensor in self.tensors)

    def end_at(self, result):
        """Leave out every op after the one that makes the result."""
        made = next(i for i, op in enumerate(self.ops) if result in op.outputs)
        del self.ops[made + 1 :]

    def emit(self, op, args, attrs):
        """Append an op; returns its output tensor, or a tuple of several."""
        args = (*args, *[None] * (len(op.inputs) - len(args)))
        attrs = {**op.defaults, **attrs}
        shapes = op.infer(args, attrs)
        outputs: tuple[Tensor, ...]
        if op.writes is not None:
            outputs = (args[op.writes],)
        else:
            outputs = tuple(Tensor(self, dtype, shape, program.ARENA, op.name) for dtype, shape in shapes)
        self.ops.append(Op(op, outputs, args, attrs, self.current_layer))
        return outputs[0] if len(outputs) == 1 else outputs
