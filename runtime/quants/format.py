"""What a number format is: fields in memory, the size that follows from them, and the decode that means them."""

from __future__ import annotations

TYPES = {"f32": ("float", "<f4", 4), "f16": ("uint16_t", "<f2", 2), "u16": ("uint16_t", "<u2", 2),
         "u8": ("uint8_t", "u1", 1), "i8": ("int8_t", "i1", 1)}  # field type: its C name, numpy name and bytes


class Format:
    """One way to store numbers: `block` of them in `size` bytes, under the id that GGUF gives it.

    `group` elements share one scale in the format's integer form (0: it has none), plus one bias where `biased`.
    `plain` is the format whose blocks lie here in another order (laid_out.py), or None.
    """

    __slots__ = ("biased", "block", "body", "codebook", "family", "fields", "group", "id", "name", "plain", "size")

    def __init__(self, name, id, block, size, fields=(), group=0, biased=False, codebook=(), body=None):
        self.name, self.id, self.block, self.size = name, id, block, size
        self.fields, self.group, self.biased, self.codebook = fields, group, biased, codebook
        self.body, self.family = body, body and body.__module__.rpartition(".")[2]
        self.plain = None

    def __repr__(self):
        return self.name.upper()

    @property
    def computed(self):
        """Whether a block can be decoded by itself; other formats are laid out, or known by name and size only."""
        return self.body is not None

    @property
    def readable(self):
        """Whether a file's tensor may have it: it is computed, or the blocks of one that is, laid out for products."""
        return self.computed or self.plain is not None

    def row_size(self, n):
        """Return the bytes that a row of n elements takes; n must be a multiple of the block."""
        if n < 0 or n % self.block:
            raise ValueError(f"{self!r}: {n} elements do not fill blocks of {self.block}")
        return n // self.block * self.size

    def decode(self, data):
        """Decode bytes, or a uint8 array of whole blocks, to float32 [blocks, block] (the numpy reference)."""
        import numpy as np

        record = np.dtype([(name, TYPES[kind][1], (count,)) for name, kind, count in self.fields])
        raw = np.ascontiguousarray(np.frombuffer(data, "u1") if isinstance(data, bytes) else data, "u1")
        blocks = raw.reshape(-1).view(record)
        fields = [blocks[name].astype("f4") if kind == "f16" else blocks[name] for name, kind, _ in self.fields]
        with np.errstate(all="ignore"):  # a file may hold scales that are infinite or no number
            return self.body(*fields).reshape(-1, self.block)


FORMATS: dict[str, Format] = {}
BY_ID: dict[int, Format] = {}


def register(format):
    """Make a format known by its name and id, and return it."""
    FORMATS[format.name] = BY_ID[format.id] = format
    return format


def quant(id, block, group=0, biased=False, codebook=(), **fields):
    """Declare the format whose numpy decode the decorated function is: float32 fields [n, count] in, values out.

    A field is "type" or "type[count]" with a type of TYPES; f16 fields reach the function as float32.
    """
    parsed = []
    size = 0
    for name, text in fields.items():
        kind, _, count = text.rstrip("]").partition("[")
        parsed.append((name, kind, int(count or 1)))
        size += TYPES[kind][2] * int(count or 1)

    def wrap(body):
        return register(Format(body.__name__, id, block, size, tuple(parsed), group, biased, codebook, body))

    return wrap


def bits(packed, width, run):
    """Take uint8 [n, bytes] apart into values of `width` bits: the lowest bits of a run of bytes first."""
    import numpy as np

    shifts = np.arange(0, 8, width, dtype="u1").reshape(1, 1, -1, 1)
    parts = packed.reshape(packed.shape[0], -1, 1, run) >> shifts & ((1 << width) - 1)
    return parts.reshape(packed.shape[0], -1)


def scaled(scale, q):
    """Multiply integers [n, block] by one float32 scale [n, groups] per group: float32 [n, groups, block / groups]."""
    return scale[..., None] * q.reshape(*scale.shape, -1).astype("f4")


def lookup(codebook, index):
    """Replace each index by the number that it picks from a codebook, as float32."""
    import numpy as np

    return np.array(codebook, "f4")[index]
