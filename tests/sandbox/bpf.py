"""An interpreter of classic BPF as the kernel runs it on struct seccomp_data, and the kernel's numbers of the calls."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

ALLOW, EPERM, ENOSYS = "allow", "EPERM", "ENOSYS"
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7, "i386": 0x40000003, "arm": 0x40000028}


class Program:
    """A program that was checked as the kernel checks one when it is loaded; `run` returns what becomes of a call."""

    def __init__(self, data: bytes) -> None:
        assert len(data) % 8 == 0
        self.steps = list(struct.iter_unpack("=HBBL", data))
        assert 0 < len(self.steps) <= 4096
        for at, (code, true, false, k) in enumerate(self.steps):
            if code & 7 == 5:  # a jump
                ahead = [k] if code == 0x05 else [true, false]
                assert all(at + 1 + by < len(self.steps) for by in ahead), f"step {at} jumps out"
            elif code & 7 == 0:  # a load: of an aligned word inside the 64 bytes
                assert code == 0x20 and k % 4 == 0 and k < 64
            else:
                assert code in (0x54, 0x06), f"step {at}: {code:#x}"
        assert self.steps[-1][0] == 0x06

    def run(self, number: int, arguments: tuple[int, ...], architecture: int) -> str:
        """What the kernel would do with a call: "allow", or the name of the error it returns."""
        padded = [value & (1 << 64) - 1 for value in (*arguments, 0, 0, 0, 0, 0, 0)[:6]]
        data = struct.pack("<iIQ6Q", struct.unpack("<i", struct.pack("<I", number))[0], architecture, 0, *padded)
        accumulator, at = 0, 0
        while True:
            code, true, false, k = self.steps[at]
            at += 1
            if code == 0x20:
                (accumulator,) = struct.unpack_from("<I", data, k)
            elif code == 0x54:
                accumulator &= k
            elif code == 0x06:
                return {0x7FFF0000: ALLOW, 0x00050001: EPERM, 0x00050026: ENOSYS}[k]
            elif code == 0x05:
                at += k
            else:
                holds = {0x10: accumulator == k, 0x20: accumulator > k, 0x30: accumulator >= k,
                         0x40: bool(accumulator & k)}[code & 0xF0]
                at += true if holds else false


def numbers(machine: str) -> dict[str, int]:
    """Name → number of every call, out of the kernel's own headers."""
    ziglang = pytest.importorskip("ziglang")
    folder = {"x86_64": "x86-linux-any", "aarch64": "aarch64-linux-any"}[machine]
    header = Path(ziglang.__file__).parent / "lib" / "libc" / "include" / folder / "asm" / "unistd_64.h"
    found = re.findall(r"#define __NR_(\w+)\s+(\d+)", header.read_text())
    assert len(found) > 300
    return {name: int(number) for name, number in found}
