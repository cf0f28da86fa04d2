"""A ZIP parser of its own, written from the format's description and knowing nothing of the package under test."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import NamedTuple


class Found(NamedTuple):
    """One member as its directory record and its local header tell it."""

    name: bytes
    method: int
    flags: int
    date: int
    size: int
    packed: int
    crc: int
    mode: int
    header: int
    data: int  # file offset of the data
    zip64: bool  # whether any ZIP64 field was met


def number(data: bytes, at: int, width: int) -> int:
    """A little-endian number."""
    return int.from_bytes(data[at : at + width], "little")


def read(path: Path, begin: int, size: int) -> bytes:
    """Some bytes of a file."""
    with open(path, "rb") as file:
        file.seek(begin)
        return file.read(size)


def end_record(path: Path) -> tuple[int, int, int, bool, bytes]:
    """Count, directory size, directory offset exactly as given, whether ZIP64 was met, and the comment."""
    size = path.stat().st_size
    begin = max(0, size - 70000)
    tail = read(path, begin, size - begin)
    at = tail.rfind(b"PK\x05\x06")
    while at >= 0 and at + 22 + number(tail, at + 20, 2) != len(tail):
        at = tail.rfind(b"PK\x05\x06", 0, at)
    assert at >= 0, "no end record reaches the end of the file"
    count, length, offset = number(tail, at + 10, 2), number(tail, at + 12, 4), number(tail, at + 16, 4)
    wide = count == 0xFFFF or length == 0xFFFFFFFF or offset == 0xFFFFFFFF
    if wide:
        assert tail[at - 20 : at - 16] == b"PK\x06\x07"
        record = read(path, number(tail, at - 12, 8), 56)
        assert record[:4] == b"PK\x06\x06"
        count, length, offset = number(record, 32, 8), number(record, 40, 8), number(record, 48, 8)
    return count, length, offset, wide, tail[at + 22 :]


def members(path: Path) -> list[Found]:
    """All members in directory order, by offsets exactly as given, as a simple reader takes them."""
    count, length, offset, _, _ = end_record(path)
    directory = read(path, offset, length)
    found, at = [], 0
    for _ in range(count):
        assert directory[at : at + 4] == b"PK\x01\x02"
        n, x, c = (number(directory, at + 28 + 2 * i, 2) for i in range(3))
        extra = directory[at + 46 + n : at + 46 + n + x]
        size, packed, header, wide = _wide(extra, number(directory, at + 24, 4), number(directory, at + 20, 4),
                                           number(directory, at + 42, 4))
        local = read(path, header, 30)
        assert local[:4] == b"PK\x03\x04"
        local_n, local_x = number(local, 26, 2), number(local, 28, 2)
        rest = read(path, header + 30, local_n + local_x)
        name = directory[at + 46 : at + 46 + n]
        assert rest[:local_n] == name
        local_size, local_packed, _, local_wide = _wide(rest[local_n:], number(local, 22, 4), number(local, 18, 4), 0)
        flags = number(directory, at + 8, 2)
        if not flags & 8:
            assert (local_size, local_packed, number(local, 14, 4)) == (size, packed, number(directory, at + 16, 4))
        found.append(Found(name, number(directory, at + 10, 2), flags, number(directory, at + 14, 2), size, packed,
                           number(directory, at + 16, 4), number(directory, at + 40, 2), header,
                           header + 30 + local_n + local_x, wide or local_wide))
        at += 46 + n + x + c
    assert at == length
    return found


def _wide(extra: bytes, size: int, packed: int, header: int) -> tuple[int, int, int, bool]:
    """Take what is all ones from the ZIP64 field."""
    at, values = 0, [size, packed, header]
    while at + 4 <= len(extra):
        ident, length = number(extra, at, 2), number(extra, at + 2, 2)
        if ident == 1:
            field = at + 4
            for i in range(3):
                if values[i] == 0xFFFFFFFF:
                    values[i] = number(extra, field, 8)
                    field += 8
            assert field <= at + 4 + length
            return values[0], values[1], values[2], True
        at += 4 + length
    return size, packed, header, False


def contents(path: Path) -> dict[str, bytes]:
    """The bytes of all members, their CRCs checked."""
    result = {}
    for member in members(path):
        packed = read(path, member.data, member.packed)
        data = packed if member.method == 0 else zlib.decompress(packed, -15)
        assert len(data) == member.size and zlib.crc32(data) == member.crc, member.name
        result[member.name.decode()] = data
    return result
