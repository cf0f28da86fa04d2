"""Embeddings: rows of the last norm pooled to one for a text, however the text is cut into chunks."""

from __future__ import annotations

from llamafile._native import ffi, lib

KINDS = {0: "none", 1: "mean", 2: "cls", 3: "last"}  # the numbers of <architecture>.pooling_type


def of_model(model):
    """The pooling that a model asks for; mean where it says none, or one that is not known here."""
    number = model.file.integer(f"{model.architecture}.pooling_type", 1, low=-1)
    return KINDS.get(number, "mean")


class Pooled:
    """Takes the rows of one text, f32[n, width] at an address, as they come."""

    def __init__(self, kind, width):
        self.kind, self.width = kind, width
        self.count = 0
        self.rows: list[list[float]] = []
        self._sum = ffi.new("double[]", width) if kind == "mean" else None

    def add(self, address, n):
        """The next n rows."""
        rows = ffi.cast("float *", address)
        if self.kind == "mean":
            lib.lf_add_rows(self._sum, rows, n, self.width)
        elif self.kind == "none":
            self.rows += [self._row(rows, i) for i in range(n)]
        elif self.kind == "last":
            self.rows = [self._row(rows, n - 1)]
        elif not self.count:
            self.rows = [self._row(rows, 0)]
        self.count += n

    def _row(self, rows, i):
        return ffi.unpack(rows + i * self.width, self.width)

    def result(self):
        """One row for each token (none), else a list of one."""
        if self.kind == "mean":
            return [[value / self.count for value in ffi.unpack(self._sum, self.width)]]
        return self.rows
