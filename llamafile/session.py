"""A session: one timeline of tokens, the cache that holds what the model made of them, and the next token's logits."""

from __future__ import annotations

import time

from llamafile import fit
from llamafile.errors import LlamafileError
from llamafile.lower import lower
from runtime._core import ffi
from runtime.ops import PAGE


class Session:
    """`tokens` are the ids evaluated so far; `logits` points to the last row's floats, one for each token there is.

    Up to `n_ahead` tokens can be evaluated on trial behind them: `append` says how.
    """

    def __init__(self, model, n_ctx=0, n_batch=512, cache_types=("f16", "f16"), all_logits=False, n_ahead=0):
        self.model, self.cache_types = model, tuple(cache_types)
        self.n_ctx = n_ctx or model.n_ctx_train
        self.n_batch = max(1, min(n_batch, self.n_ctx))
        self.tokens: list[int] = []
        self.all_logits = all_logits
        self._ahead: list[int] = []  # evaluated on trial, with their logits behind `logits`
        self.perf = {"prompt_tokens": 0, "prompt_seconds": 0.0, "tokens": 0, "seconds": 0.0}
        pages = -(-self.n_ctx // PAGE)
        self._graph, logits = model.graph(self.cache_types)
        self.n_ahead = min(n_ahead, self.n_batch - 1) if self._graph.rolls_back and not all_logits else 0
        letters = {"T": self.n_batch, "S": 1, "O": self.n_batch if all_logits else 1 + self.n_ahead,
                   "C": pages * PAGE, "P": pages}
        image = model.lower(self._graph, logits, letters)
        # What to tell the user before it gets slow; None where everything fits.
        self.warning = fit.check(model.file.label, fit.weights_of(model.file, image), image, self.n_ctx)
        self._cache = model.cache(image)
        self._program = model.program(self._graph, image, self._cache)
        self._shift = None
        self._pages = pages
        self._rows = self.logits = self._program.floats(image.logits)
        self._set_tables(self._program)

    def _set_tables(self, program):
        """One sequence: page i is the i-th page, cell i holds position i."""
        for i in range(self._pages):
            program.inputs["pages"][i] = i
        ffi.memmove(program.inputs["cell_positions"], _ints(range(self._pages * PAGE)), 4 * self._pages * PAGE)
        program.inputs["starts"][0] = 0

    def sync(self, ids):
        """Make the session's tokens equal ids: the longest common prefix is kept, the rest is evaluated."""
        same = 0
        for a, b in zip(self.tokens, ids):
            if a != b:
                break
            same += 1
        # The last token is always evaluated: its logits are wanted.
        self.truncate(min(same, len(ids) - 1) if ids else 0)
        self.append(ids[len(self.tokens) :])

    def truncate(self, n):
        """Forget every token but the first n."""
        if n < len(self.tokens):
            self._ahead = []
        del self.tokens[n:]

    @property
    def next_guess(self):
        """The token that would cost nothing to append, or -1."""
        return self._ahead[0] if self._ahead else -1

    def append(self, ids, guess=()):
        """Evaluate ids after the tokens so far; those that were guessed right have been.

        `guess` are tokens that may follow: up to n_ahead of them are evaluated in the same pass and count for nothing
        until they are appended, and one that is not appended gives its cell back. Other tokens take their place then.
        """
        if len(self.tokens) + len(ids) > self.n_ctx:
            raise LlamafileError(f"context: {len(self.tokens) + len(ids)} tokens do not fit {self.n_ctx} cells; "
                                 "use a larger -c")
        known = 0
        while known < len(ids) and self.next_guess == ids[known]:
            self.tokens.append(self._ahead.pop(0))
            self.logits += self.model.n_vocab
            known += 1
        for first in range(known, len(ids), self.n_batch):
            batch = ids[first : first + self.n_batch]
            last = first + self.n_batch >= len(ids)
            room = min(self.n_ahead, self.n_batch - len(batch), self.n_ctx - len(self.tokens) - len(batch))
            self._evaluate(batch, list(guess[:room]) if last else [])

    def _evaluate(self, ids, guess):
        """Run the program once for at most n_batch tokens, the guess among them."""
        started, inputs = time.perf_counter(), self._program.inputs
        past, n = len(self.tokens), len(ids) + len(guess)
        places = _ints(range(past, past + n))
        ffi.memmove(inputs["tokens"], _ints(ids + guess), 4 * n)
        ffi.memmove(inputs["positions"], places, 4 * n)
        ffi.memmove(inputs["cells"], places, 4 * n)
        inputs["starts"][1] = n
        inputs["lengths"][0] = past + n
        outputs = range(n) if self.all_logits else range(len(ids) - 1, n)
        ffi.memmove(inputs["rows"], _ints(outputs), 4 * len(outputs))
        # Pages beyond the last one in use are not looked at: attention plans its splits by their number.
        pages = -(-(past + n) // PAGE)
        self.model.pool.use(self.model.n_threads_batch if n > 1 else self.model.n_threads)
        self._program.run(T=n, S=1, O=len(outputs), C=self._pages * PAGE, P=pages)
        self.tokens += ids
        self._ahead, self.logits = guess, self._rows
        kind = "prompt_" if len(ids) > 1 else ""
        self.perf[kind + "tokens"] += len(ids)
        self.perf[kind + "seconds"] += time.perf_counter() - started

    def shift(self, keep, discard):
        """Drop `discard` tokens after the first `keep` and move the rest down, without evaluating them again."""
        count = len(self.tokens)
        if keep < 0 or discard <= 0 or keep + discard > count:
            raise LlamafileError(f"context: {discard} tokens after {keep} cannot be dropped from {count}")
        self._ahead = []
        if self._shift is None:
            self._shift = self._open_shift()
        inputs = self._shift.inputs
        for first in range(keep + discard, count, self.n_batch):
            n = min(self.n_batch, count - first)
            ffi.memmove(inputs["tokens"], _ints(range(first, first + n)), 4 * n)
            ffi.memmove(inputs["cells"], _ints(range(first - discard, first - discard + n)), 4 * n)
            ffi.memmove(inputs["positions"], _ints([-discard] * n), 4 * n)
            self._shift.run(T=n, S=1, O=1, C=self._pages * PAGE, P=self._pages)
        del self.tokens[keep : keep + discard]

    def _open_shift(self):
        """The program that moves cells, over the same cache."""
        from llamafile.shift import shift_graph

        graph, result = shift_graph(self._graph)
        letters = {"T": self.n_batch, "S": 1, "O": 1, "C": self._pages * PAGE, "P": self._pages}
        image = lower(graph, result, letters)
        if [c.device for c in graph.caches] != [c.device for c in self._graph.caches]:
            raise LlamafileError("context: the GPU module cannot move cells; use a larger -c or --gpu disable")
        return self.model.program(graph, image, self._cache)

    def save(self, path):
        """Write the tokens and their cells to a file that `load` takes."""
        from llamafile.prompt_cache import save

        save(self, path)

    def load(self, path):
        """Take tokens and cells from a file that `save` wrote for the same model and cache format."""
        from llamafile.prompt_cache import load

        load(self, path)

    def cells(self):
        """The used part of each cache tensor, layer after layer: buffers, where they lie or copies of a device's."""
        used = len(self.tokens)
        return [self._cache.read(cache, self._row_bytes(cache.dtype, cache.shape[1] * cache.shape[2]) * used)
                for cache in self._graph.caches]  # fmt: skip

    def put_cells(self, parts):
        """Take back what `cells` gave, changed by the caller."""
        for cache, part in zip(self._graph.caches, parts):
            if cache.device:
                self._cache.write(cache, part)

    @staticmethod
    def _row_bytes(dtype, n):
        from runtime.quants import FORMATS

        return FORMATS[dtype].row_size(n)

    def close(self):
        """Free the programs and the cache."""
        for program in (self._program, self._shift):
            if program is not None:
                program.close()
        self._cache.close()


def _ints(values):
    """A C array of int32."""
    return ffi.new("int32_t[]", list(values))
