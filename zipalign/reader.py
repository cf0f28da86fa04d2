"""Opens an archive and reads or maps its members; on the way of every start, so kept lean."""

from __future__ import annotations

import mmap
import os

from zipalign import ZipError, records
from zipalign.locate import Directory, locate, pread
from zipalign.records import Member

DEFLATE_RATIO = 1032  # no deflated stream grows by more


class Members:
    """The members by name, in directory order, like a read-only dict; each is made when it is first asked for."""

    __slots__ = ("_at", "_base", "_directory", "_label", "_made")

    def __init__(self, directory: bytes, count: int, base: int, label: str):
        self._directory, self._base, self._label = directory, base, label
        self._made: dict[str, Member] = {}
        self._at = _table(directory, count, label)

    def __getitem__(self, name: str) -> Member:
        member = self._made.get(name)
        if member is None:
            member = records.member_at(self._directory, self._at[name], name, self._base, self._label)
            self._made[name] = member
        return member

    def get(self, name: str, default: Member | None = None) -> Member | None:
        """Return the member of that name, or the default."""
        return self[name] if name in self._at else default

    def __contains__(self, name: object) -> bool:
        return name in self._at

    def __iter__(self):
        return iter(self._at)

    def __len__(self) -> int:
        return len(self._at)

    def keys(self):
        """The names."""
        return self._at.keys()

    def values(self):
        """The members, made one by one."""
        return (self[name] for name in self._at)

    def items(self):
        """Pairs of name and member, made one by one."""
        return ((name, self[name]) for name in self._at)

    def record(self, name: str) -> bytes:
        """The raw central record of a member."""
        at = self._at[name]
        _, n, x, c = records.CENTRAL_LENGTHS.unpack_from(self._directory, at)
        return self._directory[at : at + records.CENTRAL.size + n + x + c]


def _table(directory: bytes, count: int, label: str) -> dict[str, int]:
    """Return where each name's record begins; of two records with one name the later counts."""
    table: dict[str, int] = {}
    at, seen, stop, text = 0, 0, len(directory), str(directory, "latin-1")  # slices of text are names: 0.2 us a member
    lengths, fixed, sign = records.CENTRAL_LENGTHS.unpack_from, records.CENTRAL.size, records.CENTRAL_SIGN
    while at + fixed <= stop:
        signature, n, x, c = lengths(directory, at)
        if signature != sign:
            break
        begin = at + fixed
        behind = begin + n
        table[text[begin:behind]] = at
        at = behind + x + c
        seen += 1
    if at != stop or seen & 0xFFFF != count & 0xFFFF:  # some writers keep only 16 bits of the count
        raise ZipError(f"{label}: its ZIP directory is damaged at record {seen + 1} of {count}; get the file again")
    names = "".join(table)
    if names.isascii() and "\\" not in names:
        return table
    return {records.name_at(directory, at, name.encode("latin-1")): at for name, at in table.items()}


class Archive:
    """An archive on an open file; the descriptor stays the caller's. Raises ZipError where there is no good directory.

    end: read the file as if it ended there. interrupted: the byte up to which the archive was whole before a run of
    zipalign that was killed or is still at work, else None; the members are then those of before.
    """

    __slots__ = ("_owned", "directory", "fd", "interrupted", "label", "members", "size")

    def __init__(self, fd: int, label: str, end: int | None = None):
        self._owned, self.fd, self.label = False, fd, label
        self.size = os.fstat(fd).st_size
        self.interrupted, self.directory = locate(fd, label, self.size if end is None else min(end, self.size))
        if self.directory is None and self.interrupted is None:
            raise ZipError(f"{label}: does not end in a ZIP directory; it is no archive, or a truncated one: get it "
                           "again")
        where = self.directory or Directory(0, 0, 0, 0, b"", 0)
        self.members = Members(pread(fd, where.size, where.position, label), where.count, where.base, label)

    @classmethod
    def open(cls, path: str | os.PathLike) -> Archive:
        """Open the archive at a path; close() or a with block closes the file."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as problem:
            raise ZipError(f"{os.fspath(path)}: cannot be opened: {problem.strerror}; check the path") from problem
        try:
            archive = cls(fd, os.fspath(path))
        except BaseException:
            os.close(fd)
            raise
        archive._owned = True
        return archive

    def close(self) -> None:
        """Close the file if open() opened it; maps stay valid."""
        if self._owned:
            self._owned = False
            os.close(self.fd)

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def data_offset(self, member: Member) -> int:
        """Return where a member's data begin in the file; its whole data are known to lie inside the file."""
        head = records.LOCAL.size
        if member.header < 0 or member.header + head > self.size:
            raise ZipError(f"{self.label}: {member.name} would lie at byte {member.header} of {self.size}; "
                           "the file is truncated or damaged: get it again")
        distance = records.data_distance(pread(self.fd, head, member.header, self.label))
        if distance is None:
            raise ZipError(f"{self.label}: {member.name} has no header at byte {member.header}; "
                           "the file is damaged: get it again")
        offset = member.header + distance
        if offset + member.compressed > self.size:
            raise ZipError(f"{self.label}: {member.name} would end at byte {offset + member.compressed} of "
                           f"{self.size}; the file is truncated: get it again")
        return offset

    def read(self, member: Member) -> bytes:
        """Return a stored or deflated member's bytes; the CRC of a deflated one is checked."""
        self.refuse_encrypted(member)
        if member.method == records.STORED:
            return pread(self.fd, stored_size(self, member), self.data_offset(member), self.label)
        if member.method != records.DEFLATED:
            raise ZipError(f"{self.label}: {member.name} is compressed by method {member.method}; store it instead")
        packed = pread(self.fd, member.compressed, self.data_offset(member), self.label)
        return _inflated(self, member, packed)

    def map(self, member: Member) -> tuple[mmap.mmap, int]:
        """Map a stored member, read-only and shared: the map, and how far into it the data begin (below a page)."""
        self.refuse_encrypted(member)
        if member.method != records.STORED:
            raise ZipError(f"{self.label}: {member.name} is compressed; only stored members can be mapped: "
                           "zipalign -0 it again")
        size, offset = stored_size(self, member), self.data_offset(member)
        if not size:
            raise ZipError(f"{self.label}: {member.name} is empty; there is nothing to map")
        skew = offset % mmap.ALLOCATIONGRANULARITY
        try:
            view = mmap.mmap(self.fd, skew + size, mmap.MAP_SHARED, mmap.PROT_READ, offset=offset - skew)
        except (OSError, ValueError, OverflowError) as problem:
            raise ZipError(f"{self.label}: {member.name} cannot be mapped: {problem}; "
                           "check the address space limit (ulimit -v)") from problem
        return view, skew

    def refuse_encrypted(self, member: Member) -> None:
        """Raise ZipError for a member that only a password opens."""
        if member.flags & records.ENCRYPTED:
            raise ZipError(f"{self.label}: {member.name} is encrypted; unpack it with its password and add it again")


def stored_size(archive: Archive, member: Member) -> int:
    """Return a stored member's size, which both size fields must agree on."""
    if member.size != member.compressed:
        raise ZipError(f"{archive.label}: {member.name} is stored in {member.compressed} bytes but should have "
                       f"{member.size}; the file is damaged: get it again")
    return member.size


def _inflated(archive: Archive, member: Member, packed: bytes) -> bytes:
    """Inflate a whole member, never beyond the size the directory names."""
    import zlib

    damaged = ZipError(f"{archive.label}: {member.name} does not inflate to what it was; "
                       "the file is damaged: get it again")
    if member.size > member.compressed * DEFLATE_RATIO + DEFLATE_RATIO:
        raise damaged
    unpack = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = unpack.decompress(packed, member.size + 1)
    except zlib.error as problem:
        raise damaged from problem
    if len(data) != member.size or not unpack.eof or zlib.crc32(data) != member.crc:
        raise damaged
    return data
