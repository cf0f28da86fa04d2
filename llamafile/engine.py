"""How an executable is laid out before its weights: the head's slot and record, the engine's members and stamp."""

from __future__ import annotations

import os
import struct

from llamafile.errors import LlamafileError
from zipalign.reader import Archive

HEAD_SIZE = 8 << 20  # the head's slot; runtime/launcher/archive.h reads slot and record by the same numbers
RECORD_SIZE = 64
STAMP = ".engine"  # its CRC tells one engine from another
FOLDERS = ("py/", "ext/", "lib/", "licenses/", "llamafile/", "zipalign/", "runtime/", "gpu_modules/", "page/")
PREVIOUS_HEAD = ".previous-head"  # there while a new head is being put in, and only then

_RECORD = struct.Struct(
    "<8sQQII28xI"
)  # magic, directory's offset, size and CRC, the stamp's CRC, CRC of the bytes before
_MAGIC = b"lf-head\0"


def record_for(path: str | os.PathLike) -> bytes:
    """The last bytes of the slot for an executable whose directory is written; its head finds its engine by them."""
    import zlib

    with Archive.open(path) as archive:
        if archive.directory is None or STAMP not in archive.members:
            raise LlamafileError(f"{os.fspath(path)}: has no engine in it; build it again")
        where = archive.directory
        raw = os.pread(archive.fd, where.size, where.position)
        body = _RECORD.pack(_MAGIC, where.position, where.size, zlib.crc32(raw), archive.members[STAMP].crc, 0)[:-4]
    return body + struct.pack("<I", zlib.crc32(body))


def recorded_stamp(head: bytes) -> int | None:
    """The CRC of the stamp that a head (the whole slot) was written for, or None where its record is not one."""
    import zlib

    record = head[HEAD_SIZE - RECORD_SIZE : HEAD_SIZE]
    if len(record) != RECORD_SIZE or zlib.crc32(record[:-4]) != int.from_bytes(record[-4:], "little"):
        return None
    magic, _, _, _, stamp, _ = _RECORD.unpack(record)
    return stamp if magic == _MAGIC else None


def facts(archive: Archive) -> dict[str, str]:
    """What the `.engine` member says: version, revision, python, target, head, digest; {} where there is none."""
    member = archive.members.get(STAMP)
    if member is None:
        return {}
    text = archive.read(member).decode("utf-8", "replace")
    return dict(line.split(" ", 1) for line in text.splitlines() if " " in line)


def head_problem(archive: Archive) -> str | None:
    """One line that says what is wrong with an executable's head, measured by its stamp; None where it is sound."""
    from zipalign.checksum import crc32

    if STAMP not in archive.members:
        return f"{archive.label}: has no engine in it"
    size, _, crc = facts(archive).get("head", "").partition(" ")
    if not size.isdecimal() or not 0 < int(size) <= HEAD_SIZE - RECORD_SIZE:
        return f"{archive.label}: {STAMP} does not describe the head"
    slot = os.pread(archive.fd, HEAD_SIZE, 0)
    if f"{crc32(slot[: int(size)]):08x}" != crc:
        return f"{archive.label}: the head, which starts the engine, is damaged"
    if recorded_stamp(slot) != archive.members[STAMP].crc:
        return f"{archive.label}: the head's record of its engine is damaged or of another engine"
    return None


def is_engine_member(name: str) -> bool:
    """Whether a member belongs to the engine and not to the user: replaced by upgrade-engine, kept by nothing else."""
    return name == STAMP or name.startswith(FOLDERS)
