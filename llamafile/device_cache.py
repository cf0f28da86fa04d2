"""The cells of a session whose layers lie on several devices."""

from __future__ import annotations

from llamafile.errors import LlamafileError
from runtime._core import ffi
from runtime.executor import Memory

ZEROS = 1 << 20  # bytes of zeros that are sent to a card and multiplied there


class Cache:
    """The cells of a session: what the CPU keeps, and what lies on cards; zeroed."""

    def __init__(self, image, offload=None):
        self.memory = Memory(image.cache)
        self._places: dict[int, tuple] = {}
        for device, size in image.device_caches.items():
            card = offload.cards[device - 1]
            address = card.alloc(size)
            if not address:
                self.close()
                raise LlamafileError(f"{card.name}: a cache of {size >> 20} MiB cannot be had, "
                                     f"{card.available() >> 20} MiB are free; use a smaller -c, fewer layers (-ngl) or "
                                     "-nkvo")
            self._places[device] = card, address, size
            zeros = Memory(min(size, ZEROS))
            card.upload(address, int(ffi.cast("uintptr_t", zeros.raw.address)), min(size, ZEROS))
            for at in range(ZEROS, size, ZEROS):  # its own memory is faster than the way to it
                card.copy(address + at, address, min(ZEROS, size - at))
            zeros.close()

    @property
    def raw(self):
        """The host's part, as C takes it."""
        return self.memory.raw

    def on(self, device):
        """(address, size) of what lies on a device."""
        return self._places[device][1:] if device in self._places else (0, 0)

    def read(self, tensor, size, at=0):
        """`size` bytes, from byte `at` on, of a cache tensor of the graph, copied or where they lie."""
        if not tensor.device:
            return self.memory.read(tensor, size, at)
        card, address, _ = self._places[tensor.device]
        data = bytearray(size)
        if size:
            card.download(int(ffi.cast("uintptr_t", ffi.from_buffer(data))), address + tensor.offset + at,
                          size)
        return data

    def write(self, tensor, data, at=0):
        """Put bytes at byte `at` of a cache tensor of a card."""
        if len(data):
            card, address, _ = self._places[tensor.device]
            card.upload(address + tensor.offset + at, int(ffi.cast("uintptr_t", ffi.from_buffer(data))), len(data))

    def close(self):
        """Give everything back."""
        self.memory.close()
        for card, address, _ in self._places.values():
            card.release(address)
        self._places = {}
