"""How an op is declared: a function whose signature is the specification and whose body is the numpy reference."""

from __future__ import annotations

OPS: dict[str, Op] = {}  # by name, in declaration order; the position is the opcode


class RuntimeFault(Exception):
    """What can go wrong in this room: a graph that an op refuses, a program that C refuses, memory that is missing."""


class LazyNumpy:
    """Stands for numpy in reference bodies: the import happens on first use, never at start-up."""

    def __getattr__(self, name):
        import numpy

        return getattr(numpy, name)


np = LazyNumpy()


class Operand:
    """One input or output: its name, dtype ('any' for every format) and shape letters, outermost first."""

    __slots__ = ("below", "dims", "dtype", "name", "optional")

    def __init__(self, name, note, optional=False):
        note, _, self.below = (part.strip() for part in note.partition("<"))  # 'i32[t] < v': values lie below v
        dtype, _, dims = note.rstrip("]").partition("[")
        self.name, self.dtype, self.optional = name, dtype, optional
        self.dims = tuple(d.strip() for d in dims.split(",")) if dims else ()


class Op:
    """One instruction of the machine."""

    __slots__ = ("attrs", "code", "defaults", "doc", "inputs", "name", "outputs", "reference", "writes")

    def __init__(self, fn):
        code, notes = fn.__code__, fn.__annotations__
        count, defaults = code.co_argcount, fn.__defaults__ or ()
        names, n_required = code.co_varnames, count - len(defaults)
        self.name, self.code, self.reference, self.doc = fn.__name__, len(OPS), fn, fn.__doc__
        self.inputs = [Operand(n, notes[n], i >= n_required) for i, n in enumerate(names[:count])]
        self.attrs = {n: notes[n] for n in names[count : count + code.co_kwonlyargcount]}
        self.defaults = fn.__kwdefaults__ or {}
        result = notes["return"]
        self.writes = next((i for i, o in enumerate(self.inputs) if o.name == result), None)
        if self.writes is not None:  # the op stores into this input and returns it
            self.outputs = [self.inputs[self.writes]]
        else:
            parts = result.strip("()").split("], ")
            self.outputs = [Operand(f"out{i}", p if p.endswith("]") else p + "]") for i, p in enumerate(parts)]

    def __call__(self, *args, **attrs):
        """Append this op to the graph that the first operand belongs to; return its output tensor or tensors."""
        return args[0].graph.emit(self, args, attrs)

    def infer(self, args, attrs):
        """Unify the shape letters with the arguments; return [(dtype, shape)] of the outputs."""
        bound = dict(attrs)
        for operand, arg in zip(self.inputs, args):
            if arg is None:
                if not operand.optional:
                    raise RuntimeFault(f"{self.name}: {operand.name} is missing; give it a tensor")
                continue
            self._match(operand, arg, bound)
        return [
            (bound.get("dtype of " + o.dtype, o.dtype), tuple(x for d in o.dims for x in _several(bound, d)))
            for o in self.outputs
        ]

    def _match(self, operand, arg, bound):
        """Bind one operand's letters, or say which operand does not fit."""
        if operand.dtype == "any":
            bound.setdefault("dtype of any", arg.dtype)
        elif arg.dtype != operand.dtype:
            raise RuntimeFault(f"{self.name}: {operand.name} is {arg.dtype}; it must be {operand.dtype}")
        dims, shape = operand.dims, arg.shape
        if dims and dims[0] == "...":
            rest = len(shape) - len(dims) + 1
            shape = (shape[:rest], *shape[rest:])
        if len(dims) != len(shape):
            raise RuntimeFault(f"{self.name}: {operand.name} has shape {arg.shape}; it must have {operand.dims}")
        for letter, n in zip(dims, shape):
            if bound.setdefault(letter, int(letter) if letter.isdigit() else n) != n:
                raise RuntimeFault(f"{self.name}: {operand.name} has {letter} = {n}; it must be {bound[letter]}")


def _several(bound, letter):
    """The dims that one letter stands for: '...' stands for a tuple, a digit for itself, every other letter for one."""
    n = int(letter) if letter.isdigit() else bound[letter]
    return n if type(n) is tuple else (n,)


def op(fn):
    """Declare an op; the order of declaration is the order of opcodes."""
    OPS[fn.__name__] = made = Op(fn)
    return made
