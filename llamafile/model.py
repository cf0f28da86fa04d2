"""A model: an open GGUF, its tokens, its graph, and what it takes in memory."""

from __future__ import annotations

from llamafile.errors import LlamafileError
from llamafile.graph import Graph
from llamafile.lower import lower
from llamafile.models import build
from llamafile.models.positions import Rope
from runtime import threads
from runtime._core import ffi
from runtime.executor import Memory, Program
from runtime.ops import RuntimeFault


class Model:
    """One GGUF ready to make sessions of; `file` is an open llamafile.gguf File and is closed with the model."""

    def __init__(self, file, n_threads=0, n_threads_batch=0, rope=None, offload=None, numa="", strict=False):
        from llamafile.tokens import Tokenizer

        self.file = file
        self.architecture = file.text("general.architecture")
        self.tokenizer = Tokenizer(file)
        self.n_vocab = self._vocabulary()
        self.rope = rope or Rope()
        self.offload = offload  # an llamafile.offload.Offload, closed with the model, or None
        self.n_ctx_train = file.integer(f"{self.architecture}.context_length", 2048, low=1)
        # One pool; a call with one token uses n_threads of it, a call with more n_threads_batch.
        self.n_threads = n_threads or threads.physical_cores()
        self.n_threads_batch = n_threads_batch or self.n_threads
        self.pool = threads.Pool(max(self.n_threads, self.n_threads_batch), numa, strict)

    @classmethod
    def open(cls, path, **options):
        """Open the GGUF at a path."""
        from llamafile.gguf.reader import open_path

        return cls(open_path(path), **options)

    def _vocabulary(self):
        """How many rows the token table has: it may be padded beyond the tokens that have a text."""
        table = self.file.need_tensor("token_embd.weight")
        if len(table.ne) != 2 or table.ne[1] < self.tokenizer.n_vocab:
            raise LlamafileError(f"{self.file.label}: the token table {table.ne} is smaller than the vocabulary of "
                                 f"{self.tokenizer.n_vocab}; the file is damaged")
        return table.ne[1]

    def graph(self, cache_types=("f16", "f16")):
        """Build the architecture's graph; returns (graph, logits)."""
        graph = Graph(self.file, self.n_vocab, self.rope, cache_types)
        try:
            return graph, build(graph)
        except RuntimeFault as fault:  # shapes that cannot be: the file's numbers contradict each other
            raise LlamafileError(f"{self.file.label}: {fault}; the file is damaged") from fault

    def lower(self, graph, logits, letters):
        """The image of a graph of this model, its layers on the devices that they are to run on."""
        return (self.offload.lower if self.offload is not None else lower)(graph, logits, letters)

    def cache(self, image):
        """Zeroed room for the cells of a program, where the image wants it."""
        if self.offload is None:
            return Memory(image.cache)
        from llamafile.device_cache import Cache

        return Cache(image, self.offload)

    def program(self, graph, image, cache):
        """Open an image of a graph over a cache."""
        constants = ffi.from_buffer(graph.constants)
        maps = [(m.address, m.length) for m in self.file.mappings]
        maps.append((int(ffi.cast("uintptr_t", constants)), len(graph.constants)))
        sides = self.offload.sides(image, graph, maps, cache, self.file.mappings) if graph.placement is not None else ()
        opened = Program(image, maps, cache, self.pool, sides)
        opened.constants = constants  # they must not move while the program is open
        return opened

    def let_go(self):
        """Let go of the file's pages that were only read to get here; the next call brings back what it needs."""
        from llamafile import own

        self.file.let_go_of_metadata()
        own.let_go()

    @property
    def description(self):
        """Name, architecture, parameters and size, for a banner."""
        return describe(self.file)

    @property
    def gpu(self):
        """The names of the cards in use, or an empty text."""
        return self.offload.names if self.offload is not None else ""

    def session(self, n_ctx=0, **options):
        """A timeline of tokens with a cache of n_ctx cells (0: as many as the model was trained for)."""
        from llamafile.session import Session

        return Session(self, n_ctx, **options)

    def close(self):
        """Stop the threads and unmap the file; sessions must be closed before."""
        self.pool.close()
        if self.offload is not None:
            self.offload.close()
        self.file.close()


def describe(file):
    """Return an open GGUF's name, architecture, parameters and size, for a banner."""
    name = file.get("general.name") or file.label
    count = 0
    for tensor in file.tensors.values():
        n = 1
        for d in tensor.ne:
            n *= d
        count += n
    size = sum(t.nbytes for t in file.tensors.values())
    architecture = file.text("general.architecture")
    return f"{name}, {architecture}, {count / 1e6:.0f} M parameters, {size / 2**20:.0f} MiB"
