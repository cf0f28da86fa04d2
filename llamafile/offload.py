"""Layers on graphics cards: how many fit, which card gets which, and what of the weights is brought there."""

from __future__ import annotations

from llamafile.budget import Needs, cumulative, margin
from llamafile.errors import LlamafileError
from llamafile.gguf import layout
from llamafile.lower import lower
from llamafile.placement import CPU, Placement, Refused
from runtime._core import ffi
from runtime.devices import CHUNK, Side
from runtime.quants import BY_ID, laid_out

ALIGNMENT = 256  # of each tensor on a card


class Offload:
    """The cards of a model and what lies on them. `layers` is -ngl (None: as many as fit); shares are -ts.

    With cache_on_cpu the caches stay with the host, and so do the experts of the first cpu_experts layers; `named` says
    that the user insists on the GPU. `spare` bytes of each card are left alone. `note` is called with lines for the
    user.
    """

    def __init__(self, cards, layers=None, shares=(), cache_on_cpu=False, cpu_experts=0, named=False, spare=None,
                 note=None):  # fmt: skip
        self.cards, self.wanted, self.shares, self.cache_on_cpu = list(cards), layers, tuple(shares), cache_on_cpu
        self.cpu_experts = cpu_experts
        self.named, self.spare, self.note = named, spare, note or (lambda line: None)
        self.total = 0  # layers of the model
        self.count = 0  # how many of them are offloaded, the head counted as one; decided by the first graph
        self._decided = False
        self._cuts: list[float] = []  # cumulative shares of the cards
        self._weights: list[dict] = [{} for _ in cards]  # of each card: (mapping, offset) → (size, address)
        self._constants: dict[tuple[int, bytes], int] = {}  # (card, bytes) → address
        self._blocks: list[tuple] = []  # (card, address) to give back

    @property
    def in_use(self):
        """Whether anything runs on a card."""
        return bool(self.count)

    @property
    def names(self):
        """The cards that have layers, for a sentence; an empty text where none has."""
        used = self.devices(self.count) if self.count else ()
        return ", ".join(card.name for i, card in enumerate(self.cards) if i + 1 in used)

    @property
    def description(self):
        """One line: which card has how many layers."""
        if not self.count:
            return "no layers offloaded"
        layers = self.devices(self.count)[: self.total]
        counts = [(card, layers.count(i + 1)) for i, card in enumerate(self.cards)]
        parts = [f"{n} of {self.total} layers on {card.name} ({card.module.kind})" for card, n in counts if n]
        head = ", output too" if self.count > self.total else ""
        return "; ".join(parts) + head

    def lower(self, graph, logits, letters):
        """Place the graph's layers and lower it; a GPU that lacks kernels is left alone, unless the user named it."""
        graph.placement = self.place(graph, letters)
        try:
            return lower(graph, logits, letters)
        except Refused as why:
            if self.named:
                raise
            self.note(f"warning: the CPU runs the model: {why}")
            self.count, graph.placement = 0, None
            return lower(graph, logits, letters)

    def place(self, graph, letters):
        """Decide at the first graph how many layers are offloaded; return the graph's Placement, None for the CPU."""
        if not self._decided:
            self._decide(graph, letters)
            self._decided = True
        return self._placement(self.count) if self.count else None

    def _placement(self, count):
        devices = self.devices(count)
        before, after = (devices[0], devices[-1]) if count > self.total else (CPU, CPU)
        return Placement(devices[: self.total], before, after, self.cache_on_cpu, self.cpu_experts,
                         self._serves)  # fmt: skip

    def devices(self, count):
        """The device of each layer and of the head when the last `count` layers are offloaded."""
        act, start = min(count, self.total + 1), max(0, self.total - count)
        out = [CPU] * start
        for i in range(self.total + 1 - start):
            part = i / act
            out.append(1 + next((k for k, cut in enumerate(self._cuts) if part < cut), len(self._cuts) - 1))
        if count <= self.total:
            out[-1] = CPU
        return out

    def _decide(self, graph, letters):
        self.total = 1 + max(op.layer for op in graph.ops)
        free = [card.available() for card in self.cards]
        self._cuts = cumulative(self.shares or free, len(self.cards))
        room = [n - (self.spare if self.spare is not None else margin(card.total)) for n, card in zip(free, self.cards)]
        needs = Needs(graph, letters)
        everything = self.total + 1

        def missing(count):
            """The first card that has too little for so many layers: (card, bytes needed, bytes there); or None."""
            needed = needs.of(self._placement(count), len(self.cards)) if count else [0] * len(self.cards)
            return next(((c, n, r) for c, n, r in zip(self.cards, needed, room) if n > r), None)

        most = next((n for n in range(everything, 0, -1) if not missing(n)), 0)
        if self.wanted is None:
            self.count = most
            if most < everything:
                self.note(f"{most} of {self.total} layers fit on the GPU beside a context of this size; the rest runs "
                          "on the CPU" if most else "the GPU has no room for a single layer; the CPU runs the model")
            return
        self.count = min(self.wanted, everything)
        lack = missing(self.count)
        if lack:
            card, needed, there = lack
            advice = f"try -ngl {most}" if most else "use the CPU with -ngl 0"
            raise LlamafileError(f"-ngl {self.wanted}: {needed >> 20} MiB would be needed on {card.name}, "
                                 f"{max(0, there) >> 20} MiB are free; {advice}, a smaller -c or a smaller -ub")

    def _serves(self, ops, image):
        """Of each op of a packed image, whether its device has a kernel for it."""
        plain = bytearray(image.tensors)  # on a device weights are plain rows, whatever the file has
        records, tensors = ffi.from_buffer("lf_op[]", image.ops), ffi.from_buffer("lf_tensor[]", plain)
        for row in tensors:
            row.dtype &= ~laid_out.FLAG
        pool = ffi.from_buffer("int32_t[]", image.pool)
        modules = [None, *(card.module for card in self.cards)]
        return [op.device == CPU or modules[op.device].serves(records + i, pool + records[i].args, tensors)
                for i, op in enumerate(ops)]  # fmt: skip

    def sides(self, image, graph, maps, cache, mappings=()):
        """A Side for each card, for a program; weights that are not there yet are brought, and let go of in `mappings`.

        maps: (address, length), of which the first are the mappings.
        """
        from zipalign.progress import bar

        laid = {(t.mapping, t.offset): t for t in graph.file.tensors.values()
                if t.type in BY_ID and BY_ID[t.type].plain}
        lacking = []
        for i, there in enumerate(self._weights):
            wanted = image.device_weights.get(i + 1, ())
            lacking.append([w for w in wanted if w[0] < len(maps) - 1 and w[:2] not in there])
        with bar(sum(size for part in lacking for _, _, size in part)) as progress:
            for i, part in enumerate(lacking):
                self._bring(i, part, maps, mappings, progress, laid)
        sides = []
        for i, card in enumerate(self.cards):
            uploads = [(*key, *place) for key, place in self._weights[i].items()]
            constants = bytes(graph.constants)
            if constants and i + 1 in image.device_weights:
                uploads.append((len(maps) - 1, 0, len(constants), self._constant(i, constants, maps[-1][0])))
            address, size = cache.on(i + 1)
            sides.append(Side(card, address, size, uploads))
        return sides

    def _bring(self, i, tensors, maps, mappings, progress, laid):
        """Bring tensors (mapping, offset, bytes) to card i in one block, in chunks; those laid out as plain rows."""
        if self.cards[i].module.kind.startswith("metal"):  # it has the host's own memory
            tensors = [*(t for t in tensors if t[:2] in laid),
                       *self._bring_in_place(i, [t for t in tensors if t[:2] not in laid], maps, progress)]
        if not tensors:
            return
        card, at = self.cards[i], 0
        block = self._alloc(card, sum(up(size) for _, _, size in tensors) + ALIGNMENT)
        for mapping, offset, size in sorted(tensors):
            for first, n, source in chunks(laid.get((mapping, offset)), maps[mapping][0] + offset, size):
                card.upload(block + at + first, source, n)
                progress(n)
            if mapping < len(mappings):
                mappings[mapping].forget(offset, size)
            self._weights[i][mapping, offset] = size, block + at
            at += up(size)

    def _bring_in_place(self, i, tensors, maps, progress):
        """Show card i the pages that the tensors lie on; returns the tensors of mappings that it cannot read."""
        import mmap

        page, card, left = mmap.PAGESIZE, self.cards[i], []
        for number in sorted({mapping for mapping, _, _ in tensors}):
            mine = sorted(t for t in tensors if t[0] == number)
            first, last = maps[number][0] + mine[0][1], maps[number][0] + mine[-1][1] + mine[-1][2]
            start = first // page * page
            seen = card.alloc(-(-(last - start) // page) * page, start)
            if not seen:
                left += mine
                continue
            self._blocks.append((card, seen))
            for mapping, offset, size in mine:
                self._weights[i][mapping, offset] = size, seen + maps[number][0] + offset - start
                progress(size)
        return left

    def _constant(self, i, constants, address):
        key = i, constants
        if key not in self._constants:
            self._constants[key] = self._alloc(self.cards[i], len(constants) + ALIGNMENT)
            self.cards[i].upload(self._constants[key], address, len(constants))
        return self._constants[key]

    def _alloc(self, card, size):
        address = card.alloc(size)
        if not address:
            fewer = max(0, self.count * 3 // 4)
            raise LlamafileError(f"{card.name}: {size >> 20} MiB cannot be had, {card.available() >> 20} MiB are free; "
                                 f"try -ngl {fewer}")
        self._blocks.append((card, address))
        return address

    def release(self):
        """Give back the weights; programs must be closed before."""
        for card, address in self._blocks:
            card.release(address)
        self._blocks = []

    def close(self):
        """Give back weights and cards; programs and caches must be closed before."""
        self.release()
        for card in self.cards:
            card.close()


def chunks(laid, address, size):
    """Yield (first byte, bytes, where they are) of a tensor at an address; of a laid-out one its plain rows."""
    if laid is None:
        for first in range(0, size, CHUNK):
            yield first, min(CHUNK, size - first), address + first
        return
    first = 0
    for piece in layout.pieces(laid, address, back=True):
        held = ffi.from_buffer(piece)
        yield first, len(piece), int(ffi.cast("uintptr_t", held))
        first += len(piece)


def up(size):
    """The next multiple of the alignment of tensors on a card."""
    return -(-size // ALIGNMENT) * ALIGNMENT
