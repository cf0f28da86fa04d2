"""The architectures: one file each, named as `general.architecture` says; twins are a line here."""

from __future__ import annotations

from llamafile.errors import LlamafileError

# Architecture in the file → the module that builds it.
ARCHITECTURES = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gemma3": "gemma3"}


def build(graph):
    """Fill the graph as the file's architecture says; returns the logits."""
    name = graph.file.text("general.architecture")
    if name not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise LlamafileError(f"{graph.label}: architecture {name} is not supported; supported are {known}")
    module = __import__(f"llamafile.models.{ARCHITECTURES[name]}", fromlist=["build"])
    return module.build(graph, Keys(graph.file, name))


class Keys:
    """The file's keys below its architecture's name: keys.integer("block_count") is llama.block_count."""

    __slots__ = ("file", "name")

    def __init__(self, file, name):
        self.file, self.name = file, name

    def has(self, key):
        """Whether the file has the key."""
        return f"{self.name}.{key}" in self.file.keys

    def integer(self, key, *default, low=1, high=1 << 24):
        """An integer above 0; with a default it may be missing."""
        return self.file.integer(f"{self.name}.{key}", *default, low=low, high=high)

    def number(self, key, *default):
        """A number; with a default it may be missing."""
        return self.file.number(f"{self.name}.{key}", *default)

    def text(self, key, *default):
        """A text; with a default it may be missing."""
        return self.file.text(f"{self.name}.{key}", *default)

    def integers(self, key, count, *default):
        """One integer for each of `count` layers, from an array or a single number."""
        return self.file.integers(f"{self.name}.{key}", count, *default, low=1, high=1 << 24)
