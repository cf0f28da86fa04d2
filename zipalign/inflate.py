"""Unpacks a member of an archive as a stream of chunks: stored, deflated, or Deflate64 as Windows Explorer writes."""

from __future__ import annotations

from collections.abc import Iterator

from zipalign import ZipError, records
from zipalign.checksum import crc32
from zipalign.copy import summed
from zipalign.reader import Archive, stored_size
from zipalign.records import Member
from zipalign.sources import Part

try:  # twice as fast as zlib
    from isal import isal_zlib as codec
except ImportError:
    import zlib as codec  # type: ignore[no-redef]

DAMAGE: tuple[type[Exception], ...] = (codec.error, ValueError, EOFError)  # type: ignore[assignment]
CHUNK = 1 << 20  # bytes given out at once, about
SIP = 512  # bytes of Deflate64 taken at once: its decoder has no limit on what it gives, and a byte can become 260 kB


def contents(archive: Archive, member: Member) -> Part | Iterator[bytes | memoryview]:
    """Return a member's bytes as a source for writer.append: a Part where it is stored, so that blocks are shared."""
    archive.refuse_encrypted(member)
    if member.method == records.STORED:
        label = f"{archive.label}: {member.name}"
        return Part(archive.fd, archive.data_offset(member), stored_size(archive, member), label, member.crc)
    return chunks(archive, member)


def chunks(archive: Archive, member: Member) -> Iterator[bytes | memoryview]:
    """Yield a member's bytes, each chunk valid until the next; raises ZipError where size or CRC turn out wrong."""
    archive.refuse_encrypted(member)
    crc = size = 0
    for chunk in _unpacked(archive, member):
        crc, size = crc32(chunk, crc), size + len(chunk)
        if size > member.size:
            break
        yield chunk
    if (size, crc) != (member.size, member.crc):
        raise _damaged(archive, member)


def _unpacked(archive: Archive, member: Member) -> Iterator[bytes | memoryview]:
    """Yield a member's bytes as they come out of its method's decoder."""
    decoders = {records.STORED: _as_is, records.DEFLATED: _inflated, records.DEFLATE64: _inflated64}
    decode = decoders.get(member.method)
    if decode is None:
        raise ZipError(f"{archive.label}: {member.name} is compressed by method {member.method}; unpack it with the "
                       "program that made it and add it again")
    begin = archive.data_offset(member)
    blocks = summed(archive.fd, begin, begin + member.compressed, 0, archive.label)
    try:
        yield from decode(block for block, _ in blocks)
    except DAMAGE as problem:
        raise _damaged(archive, member) from problem


def _damaged(archive: Archive, member: Member) -> ZipError:
    return ZipError(f"{archive.label}: {member.name} does not unpack to what it was; the file is damaged: get it again")


def _as_is(packed: Iterator[memoryview]) -> Iterator[bytes | memoryview]:
    """Give stored data."""
    yield from packed


def _inflated(packed: Iterator[memoryview]) -> Iterator[bytes]:
    """Inflate, never more than a chunk at once."""
    unpack = codec.decompressobj(-codec.MAX_WBITS)
    for block in packed:
        rest: bytes | memoryview = block
        while rest and not unpack.eof:
            yield unpack.decompress(rest, CHUNK)
            rest = unpack.unconsumed_tail
    while not unpack.eof:  # what the limit of the last call held back
        out = unpack.decompress(unpack.unconsumed_tail, CHUNK)
        if not out:
            raise EOFError
        yield out


def _inflated64(packed: Iterator[memoryview]) -> Iterator[bytes]:
    """Inflate Deflate64; small inputs bound what one call can return."""
    try:
        from zipfile_deflate64.deflate64 import Deflate64
    except ImportError as problem:
        raise ZipError("Deflate64: cannot be unpacked without a package; install it: pip install "
                       "zipfile-deflate64") from problem
    unpack, gathered, size = Deflate64(), [], 0
    for block in packed:
        for at in range(0, len(block), SIP):
            if unpack.eof:
                break
            gathered.append(unpack.decompress(bytes(block[at : at + SIP])))
            size += len(gathered[-1])
            if size >= CHUNK:
                yield b"".join(gathered)
                gathered, size = [], 0
    if not unpack.eof:
        raise EOFError
    yield b"".join(gathered)
