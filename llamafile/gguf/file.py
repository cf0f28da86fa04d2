"""An open GGUF: its keys with typed access, its tensors, and the mappings that both lie in."""

from __future__ import annotations

from llamafile.errors import LlamafileError
from runtime.quants import BY_ID, title

from .values import NAMES, Array

REQUIRED = object()


class Tensor:
    """`nbytes` bytes of format id `type` from `offset` of mapping `mapping`; ne[0] is the contiguous dimension.

    Where the format is unknown, nbytes is 0; File.need_tensor refuses such a tensor. `type_at` is where the mapping
    holds the format's id.
    """

    __slots__ = ("mapping", "name", "nbytes", "ne", "offset", "type", "type_at")

    def __init__(self, name, type, ne, mapping, offset, nbytes, type_at=0):
        self.name, self.type, self.ne, self.type_at = name, type, ne, type_at
        self.mapping, self.offset, self.nbytes = mapping, offset, nbytes

    def __repr__(self):
        return f"<{self.name} {title(self.type)} {self.ne}>"


class File:
    """`keys` and `tensors` by name in the file's order, `mappings` one a part; opened by reader, closed by its user."""

    def __init__(self, label):
        self.label, self.version, self.alignment = label, 0, 32
        self.keys: dict = {}  # int, float, bool, str or Array
        self.tensors: dict = {}
        self.mappings: list = []
        self.spans: dict = {}  # of each key: GGUF type, first and last position of its encoded value in mapping 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Unmap everything; addresses, Arrays and views into the mappings are invalid from here on."""
        while self.mappings:
            self.mappings.pop().close()

    def let_go_of_metadata(self):
        """Let go of the pages that the metadata was read from; whoever reads them again gets them from the file."""
        if self.spans:
            self.mappings[0].forget(0, max(end for _, _, end in self.spans.values()))

    def get(self, key, default=None):
        """Return a key's value as it is, or the default."""
        return self.keys.get(key, default)

    def need(self, key):
        """Return a key's value as it is; raise LlamafileError where the file lacks it."""
        if key not in self.keys:
            raise LlamafileError(f"{self.label}: key {key} is missing; the file is no complete model, convert it again")
        return self.keys[key]

    def integer(self, key, default=REQUIRED, low=0, high=2**31 - 1):
        """Return an integer from low to high; without a default the key must be there."""
        return self._checked(key, default, int, f"an integer from {low} to {high}", low, high)

    def number(self, key, default=REQUIRED, low=-3.5e38, high=3.5e38):
        """Return a float from low to high, never NaN; an integer will do; without a default the key must be there."""
        value = self._checked(key, default, (int, float), f"a number from {low} to {high}", low, high)
        return value if value is default else float(value)

    def text(self, key, default=REQUIRED):
        """Return a string; without a default the key must be there."""
        return self._checked(key, default, str, "text")

    def flag(self, key, default=REQUIRED):
        """Return a boolean; without a default the key must be there."""
        return self._checked(key, default, bool, "true or false")

    def array(self, key, type, default=REQUIRED):
        """Return an Array whose elements have the GGUF type; without a default the key must be there."""
        value = self._checked(key, default, Array, f"an array of {NAMES[type]}")
        if value is not default and value.type != type:
            raise self._wrong(key, value, f"an array of {NAMES[type]}")
        return value

    def integers(self, key, count, default=REQUIRED, low=0, high=2**31 - 1):
        """Return a list of `count` integers from low to high: an array of that length, or one integer for all."""
        value = self.keys.get(key)
        if not isinstance(value, Array):
            return [self.integer(key, default, low, high)] * count
        items = value.tolist() if value.count == count else []
        if len(items) != count or not all(type(item) is int and low <= item <= high for item in items):
            raise self._wrong(key, value, f"{count} integers from {low} to {high}")
        return items

    def need_tensor(self, name):
        """Return a tensor by name; raise LlamafileError where it is missing or in a format that cannot be computed."""
        tensor = self.tensors.get(name)
        if tensor is None:
            raise LlamafileError(f"{self.label}: tensor {name} is missing; the file is no complete model of its kind, "
                                 "convert it again")
        if tensor.type not in BY_ID or not BY_ID[tensor.type].readable:
            known = f" ({title(tensor.type)})" if not title(tensor.type).startswith("format") else ""
            raise LlamafileError(f"{self.label}: tensor {name} has format id {tensor.type}{known}, which this build "
                                 "cannot read; take the model in another format, such as Q4_K_M or Q8_0")
        return tensor

    def _checked(self, key, default, kinds, wanted, low=None, high=None):
        if default is not REQUIRED and key not in self.keys:
            return default
        value = self.need(key)
        right = isinstance(value, kinds) and (kinds is bool or not isinstance(value, bool))
        if not right or (low is not None and not low <= value <= high):
            raise self._wrong(key, value, wanted)
        return value

    def _wrong(self, key, value, wanted):
        shown = repr(value[:60] if isinstance(value, str) else value)
        return LlamafileError(f"{self.label}: key {key} is {shown}, expected {wanted}; convert the model again")
