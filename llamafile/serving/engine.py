"""The machine under the scheduler: programs over one paged cache, a call of rows of several sequences, cells moved."""

from __future__ import annotations

from llamafile import fit
from llamafile._native import ffi as native
from llamafile._native import lib as choosing
from llamafile.lower import lower
from runtime._core import ffi, lib
from runtime.ops import PAGE
from runtime.quants import FORMATS


class Part:
    """Rows of one sequence in a step: its next `count` tokens; `output`: whether a token is chosen after them.

    `draft`: tokens computed behind them on trial, after each of which one can be chosen too; `row`: the first output.
    """

    __slots__ = ("count", "draft", "output", "row", "sequence")

    def __init__(self, sequence, count, output):
        self.sequence, self.count, self.output = sequence, count, output
        self.draft, self.row = (), -1


class Engine:
    """Programs of one model over a cache of `n_pages` pages; `n_rows` rows and `n_sequences` sequences a call at most.

    `n_ahead`: tokens computed on trial in a call at most; 0 where they could not be taken back.
    A sequence, here, is what has `tokens`, `n_done` (the first of them that has no cell yet) and `pages`.
    """

    def __init__(self, model, cache_types, n_ctx, n_pages, n_rows, n_sequences, n_ahead=0):
        self.model, self.cache_types, self.n_rows = model, tuple(cache_types), n_rows
        self.n_sequences = n_sequences
        self.pages_each, self.n_pages = -(-n_ctx // PAGE), n_pages
        self._graph, logits = model.graph(self.cache_types)
        self.n_ahead = n_ahead if self._graph.rolls_back else 0
        self._letters = {"T": n_rows, "S": n_sequences, "O": n_sequences + self.n_ahead, "C": n_pages * PAGE,
                         "P": self.pages_each}
        image = model.lower(self._graph, logits, self._letters)
        # What to tell the user before it gets slow; None where everything fits.
        self.warning = fit.check(model.file.label, fit.weights_of(model.file, image), image, n_pages * PAGE)
        self.cache = model.cache(image)
        self._program = model.program(self._graph, image, self.cache)
        self._moves: dict = {}  # "copy" and "shift", opened when first needed
        self._hidden = None  # opened with the first embedding
        self._hidden_rows = self.width = 0
        self._logits = int(ffi.cast("uintptr_t", self._program.floats(image.logits)))
        self._choices, self._chosen = native.new("lf_choice[]", n_sequences), []
        # The pool belongs to the other native module: it is handed over as addresses.
        each, pool = ffi.addressof(lib, "lf_pool_each"), model.pool.handle
        self._each = native.cast("lf_run_tasks *", int(ffi.cast("uintptr_t", each)))
        self._pool = native.cast("void *", int(ffi.cast("uintptr_t", pool)))

    def place(self, page):
        """Say which positions a page's cells have; to be called before a page is first written."""
        positions = _ints(range(page.depth * PAGE, page.depth * PAGE + PAGE))
        for program in (self._program, self._hidden):
            if program is not None:
                ffi.memmove(program.inputs["cell_positions"] + page.number * PAGE, positions, 4 * PAGE)

    def run(self, parts):
        """Compute the parts' rows and choose a token after each part with an output, by its sequence's sampler.

        Returns the tokens, -1 where everything was ruled out; until the next call `logits(i)` are those of output i,
        and `choose` goes on behind what was computed on trial.
        """
        outputs: list[int] = []
        last = -1
        for part in parts:
            last += part.count
            if part.output:
                part.row = len(outputs)
                outputs.append(last)
                if part.draft:
                    outputs += range(last + 1, last + 1 + len(part.draft))
                    last += len(part.draft)
        self._call(self._program, parts, outputs)
        return self.choose([(part.sequence, part.row) for part in parts if part.output])

    def choose(self, wanted):
        """Choose a token for each (sequence, output) of the last call, by the sequence's sampler and mask."""
        if wanted != self._chosen:
            self._chosen = wanted
            for i, (sequence, row) in enumerate(wanted):
                self._choices[i].sampler = sequence.sampler.handle
                self._choices[i].logits = native.cast("float *", self.logits(row))
        for i, (sequence, _) in enumerate(wanted):
            self._choices[i].mask = sequence.mask if sequence.masked else native.NULL
        if wanted:
            choosing.lf_choose(self._choices, len(wanted), self._each, self._pool)
        return [self._choices[i].token for i in range(len(wanted))]

    def embed(self, parts):
        """Compute the parts' rows; returns the address of f32[rows, width]: what the last norm gives for each row."""
        if self._hidden is None:
            self._open_hidden()
        self._call(self._hidden, parts, range(sum(part.count for part in parts)))
        return self._hidden_rows

    def _open_hidden(self):
        """A second program over the same weights and cache that ends before the product with the output table."""
        graph, _ = self.model.graph(self.cache_types)
        graph.end_at(graph.hidden)
        self.width = graph.hidden.shape[1]
        image = self.model.lower(graph, graph.hidden, {**self._letters, "O": self.n_rows})
        self._hidden = self.model.program(graph, image, self.cache)
        size = 4 * self.n_pages * PAGE
        ffi.memmove(self._hidden.inputs["cell_positions"], self._program.inputs["cell_positions"], size)
        self._hidden_rows = int(ffi.cast("uintptr_t", self._hidden.floats(image.logits)))

    def logits(self, i):
        """The address of the logits of the last call's output i."""
        return self._logits + 4 * self.model.n_vocab * i

    def _call(self, program, parts, outputs):
        """Write a call's inputs and run it."""
        inputs = program.inputs
        ids: list[int] = []
        places: list[int] = []
        cells: list[int] = []
        starts, lengths, most = [0], [], 1
        for s, part in enumerate(parts):
            sequence, first, end = part.sequence, part.sequence.n_done, part.sequence.n_done + part.count
            if part.count == 1 and not part.draft:  # nearly all parts, in a shorter way
                ids.append(sequence.tokens[first])
                places.append(first)
                cells.append(sequence.pages[first // PAGE].number * PAGE + first % PAGE)
            else:
                ids += sequence.tokens[first:end]
                ids += part.draft
                end += len(part.draft)
                places += range(first, end)
                cells += cells_of(sequence.pages, first, end)
            starts.append(len(ids))
            lengths.append(end)
            count = -(-end // PAGE)
            if count > most:
                most = count
            if count > sequence.tabled:
                self._note_pages(sequence, count)
            ffi.memmove(inputs["pages"] + s * self.pages_each, sequence.table, 4 * count)
        for name, values in (("tokens", ids), ("positions", places), ("cells", cells), ("starts", starts),
                             ("lengths", lengths), ("rows", outputs)):  # fmt: skip
            ffi.memmove(inputs[name], _ints(values), 4 * len(values))
        rows, model = len(ids), self.model
        model.pool.use(model.n_threads_batch if rows > 1 else model.n_threads)
        # Pages beyond the longest sequence's last are not looked at: attention plans its splits by their number.
        program.run(T=rows, S=len(parts), O=len(outputs), C=self.n_pages * PAGE, P=most)

    def _note_pages(self, sequence, count):
        """Bring the numbers of a sequence's first `count` pages into its table, which is kept from call to call."""
        if sequence.table is None:
            sequence.table = ffi.new("int32_t[]", self.pages_each)
        for i in range(sequence.tabled, count):
            sequence.table[i] = sequence.pages[i].number
        sequence.tabled = count

    def copy(self, source, target):
        """Copy cells within the cache, as they are: lists of cells, source[i] to target[i]."""
        self._move("copy", source, target, 0)

    def shift(self, source, target, by):
        """Move cells down by `by` positions, in order, and turn their keys back by as many."""
        self._move("shift", source, target, -by)

    def _move(self, kind, source, target, turn):
        if kind not in self._moves:
            from llamafile.shift import copy_graph, shift_graph

            graph, result = (shift_graph if kind == "shift" else copy_graph)(self._graph)
            image = lower(graph, result, {**self._letters, "S": 1, "O": 1})
            self._moves[kind] = self.model.program(graph, image, self.cache)
        program, inputs = self._moves[kind], self._moves[kind].inputs
        for first in range(0, len(source), self.n_rows):
            n = min(self.n_rows, len(source) - first)
            ffi.memmove(inputs["tokens"], _ints(source[first : first + n]), 4 * n)
            ffi.memmove(inputs["cells"], _ints(target[first : first + n]), 4 * n)
            ffi.memmove(inputs["positions"], _ints([turn] * n), 4 * n)
            program.run(T=n, S=1, O=1, C=self.n_pages * PAGE, P=self.pages_each)

    def cells(self, page, count):
        """The first `count` cells of a page in each cache tensor, layer after layer: buffers, where they lie or copies
        of a device's."""
        return [self.cache.read(cache, row * count, row * PAGE * page.number) for cache, row in self._rows()]

    def put_cells(self, page, parts):
        """Take back what `cells` gave, changed by the caller."""
        for (cache, row), part in zip(self._rows(), parts):
            if cache.device:
                self.cache.write(cache, part, row * PAGE * page.number)

    def _rows(self):
        """Each cache tensor with the bytes of one cell."""
        return [(c, FORMATS[c.dtype].row_size(c.shape[1] * c.shape[2])) for c in self._graph.caches]

    def close(self):
        """Free the programs and the cache."""
        for program in (self._program, self._hidden, *self._moves.values()):
            if program is not None:
                program.close()
        self.cache.close()


def cells_of(pages, first, end):
    """The cells of positions first to end of a text that lies in these pages."""
    cells: list[int] = []
    while first < end:
        i, at = divmod(first, PAGE)
        count = min(PAGE - at, end - first)
        cell = pages[i].number * PAGE + at
        cells += range(cell, cell + count)
        first += count
    return cells


def _ints(values):
    """A C array of int32."""
    return ffi.new("int32_t[]", values if type(values) is list else list(values))
