"""The records of a ZIP file: the only place that knows their offsets, signatures and ZIP64 rules."""

from __future__ import annotations

import struct

from zipalign import ZipError

LOCAL = struct.Struct("<4s5H3I2H")
CENTRAL = struct.Struct("<4s6H3I5H2I")
END = struct.Struct("<4s4H2IH")
END64 = struct.Struct("<4sQ2H2I4Q")
LOCATOR = struct.Struct("<4sIQI")
EXTRA = struct.Struct("<2H")
CENTRAL_LENGTHS = struct.Struct("<4s24x3H")  # signature, then the lengths of name, extra and comment

LOCAL_SIGN, CENTRAL_SIGN, END_SIGN = b"PK\3\4", b"PK\1\2", b"PK\5\6"
END64_SIGN, LOCATOR_SIGN = b"PK\6\6", b"PK\6\7"

STORED, DEFLATED, DEFLATE64 = 0, 8, 9
ENCRYPTED, DESCRIPTOR, UTF8 = 1 << 0, 1 << 3, 1 << 11  # bits of the general flags
DOS_HOSTS = (0, 10, 11, 14)  # "made by" systems whose names may carry backslashes and whose modes mean nothing
UNIX = 3
FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF
ZIP64_ID, TIME_ID, UNICODE_PATH_ID = 0x0001, 0x5455, 0x7075
LOCAL_ZIP64 = EXTRA.size + 16  # a local header's ZIP64 field always holds both sizes
MAX_COMMENT = FULL16
END_REACH = END.size + MAX_COMMENT  # how far before the end of the file an end record can begin

# The comment of the end record that stands at the end of a file while a run is under way (see transaction.py).
MARK = b"zipalign was interrupted: this archive was whole up to byte "
MARK_DIGITS = 20

EPOCH = (2023 - 1980 << 9 | 11 << 5 | 14, 22 << 11 | 13 << 5 | 10)  # 1700000000 as a DOS date and time in UTC

CP437 = (  # the upper half of the character set of names without the UTF-8 flag; the codec is not on the hot path
    "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀"
    "αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\xa0"
)


class Member:
    """One file of an archive as the directory tells it; header is the offset of its local header in the file."""

    __slots__ = ("compressed", "crc", "date", "external", "flags", "header", "host", "method", "name", "size", "time")

    name: str
    method: int
    flags: int
    crc: int
    size: int
    compressed: int
    header: int
    date: int
    time: int
    external: int
    host: int

    @property
    def mode(self) -> int:
        """The Unix mode with its file type, or 0 where the archive was made without one."""
        return 0 if self.host in DOS_HOSTS else self.external >> 16

    @property
    def mtime(self) -> tuple[int, int, int, int, int, int]:
        """Year, month, day, hour, minute and second, without a time zone, as ZIP has them."""
        d, t = self.date, self.time
        return 1980 + (d >> 9), d >> 5 & 15, d & 31, t >> 11, t >> 5 & 63, (t & 31) * 2


def member_at(directory: bytes, at: int, name: str, base: int, label: str) -> Member:
    """Make the member whose central record begins at `at`; base is added to its header's offset."""
    (_, made, _, flags, method, time, date, crc, compressed, size, n, x, _, disk, _, external, header
     ) = CENTRAL.unpack_from(directory, at)
    if FULL32 in (size, compressed, header):
        extra = directory[at + CENTRAL.size + n : at + CENTRAL.size + n + x]
        size, compressed, header = _wide(extra, (size, compressed, header), f"{label}: {name}")
    if disk not in (0, FULL16):
        raise ZipError(f"{label}: {name} lies on another volume; join the volumes first (zip -s 0)")
    m = Member()
    m.name, m.method, m.flags, m.crc, m.size, m.compressed = name, method, flags, crc, size, compressed
    m.header, m.date, m.time, m.external, m.host = header + base, date, time, external, made >> 8
    return m


def _wide(extra: bytes, values: tuple[int, int, int], label: str) -> list[int]:
    """Replace the values that are all ones by those of the ZIP64 field, which holds only these, in this order."""
    field = extra_field(extra, ZIP64_ID)
    wide, at = list(values), 0
    for i, value in enumerate(values):
        if value == FULL32 and field is not None:
            if at + 8 > len(field):
                raise ZipError(f"{label}: its ZIP64 field is cut short; the archive is damaged")
            wide[i] = int.from_bytes(field[at : at + 8], "little")
            at += 8
    return wide


def data_distance(header: bytes) -> int | None:
    """How far behind the begin of a local header its member's data begin; None where that is no local header."""
    fields = LOCAL.unpack(header)
    return LOCAL.size + fields[9] + fields[10] if fields[0] == LOCAL_SIGN else None


def local_facts(header: bytes) -> tuple[int, int, int, int, int, int, int]:
    """Return a local header's flags, method, CRC, packed and unpacked size, and the lengths of name and extra data."""
    _, _, flags, method, _, _, crc, compressed, size, n, x = LOCAL.unpack(header)
    return flags, method, crc, compressed, size, n, x


def local_sizes(compressed: int, size: int, extra: bytes, label: str) -> tuple[int, int]:
    """Return a local header's packed and unpacked size, from its ZIP64 field where they are all ones."""
    size, compressed, _ = _wide(extra, (size, compressed, 0), label)
    return compressed, size


def raw_name(record: bytes) -> bytes:
    """The bytes of the name in a central record."""
    return record[CENTRAL.size : CENTRAL.size + CENTRAL_LENGTHS.unpack_from(record)[1]]


def extra_field(extra: bytes, wanted: int) -> bytes | None:
    """Return the data of one extra field, or None; a field that reaches past the end counts as absent."""
    at = 0
    while at + EXTRA.size <= len(extra):
        ident, length = EXTRA.unpack_from(extra, at)
        at += EXTRA.size
        if ident == wanted and at + length <= len(extra):
            return extra[at : at + length]
        at += length
    return None


def name_at(directory: bytes, at: int, raw: bytes) -> str:
    """Decode a name that is not plain ASCII, or that has a backslash, by the rules of who made the record."""
    made, flags = struct.unpack_from("<H2xH", directory, at + 4)
    n, x = struct.unpack_from("<2H", directory, at + 28)
    name = _decode(raw, flags, made >> 8, directory[at + CENTRAL.size + n : at + CENTRAL.size + n + x])
    if made >> 8 in DOS_HOSTS and "/" not in name:
        return name.replace("\\", "/")
    return name


def _decode(raw: bytes, flags: int, host: int, extra: bytes) -> str:
    """Decode a name: the UTF-8 flag, Info-ZIP's Unicode path, UTF-8 by custom on Unix, else code page 437."""
    better = extra_field(extra, UNICODE_PATH_ID) if not flags & UTF8 else None
    if better and len(better) > 5 and better[0] == 1:
        from binascii import crc32

        if crc32(raw) == int.from_bytes(better[1:5], "little"):
            raw, flags = better[5:], UTF8
    if flags & UTF8 or host == UNIX:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            pass
    return "".join([chr(c) if c < 128 else CP437[c - 128] for c in raw])


def local_header(member: Member, raw_name: bytes, extra: bytes, zip64: bool) -> bytes:
    """Pack a local header with its name and extra fields; zip64 puts both sizes into a ZIP64 field."""
    compressed, size = member.compressed, member.size
    if zip64:
        extra = EXTRA.pack(ZIP64_ID, 16) + struct.pack("<2Q", size, compressed) + extra
        compressed = size = FULL32
    fixed = LOCAL.pack(LOCAL_SIGN, _needs(member, zip64), member.flags, member.method, member.time, member.date,
                       member.crc, compressed, size, len(raw_name), len(extra))
    return fixed + raw_name + extra


def central_record(member: Member, raw_name: bytes, extra: bytes, zip64: bool) -> bytes:
    """Pack a central record; ZIP64 only for what needs it, or for everything where zip64 is forced."""
    values, wide = [], []
    for value in (member.size, member.compressed, member.header):
        large = zip64 or value >= FULL32
        wide += [value] if large else []
        values.append(FULL32 if large else value)
    if wide:
        extra = EXTRA.pack(ZIP64_ID, 8 * len(wide)) + struct.pack(f"<{len(wide)}Q", *wide) + extra
    fixed = CENTRAL.pack(CENTRAL_SIGN, UNIX << 8 | 45, _needs(member, bool(wide)), member.flags, member.method,
                         member.time, member.date, member.crc, values[1], values[0], len(raw_name), len(extra),
                         0, 0, 0, member.external, values[2])
    return fixed + raw_name + extra


def _needs(member: Member, zip64: bool) -> int:
    """The version of the format a reader must know."""
    return 45 if zip64 else 20 if member.method == DEFLATED else 10


def moved_record(record: bytes, member: Member, label: str) -> bytes:
    """Rewrite a central record for its member's header offset, keeping every other field, extra data and comment."""
    if not 0 <= member.header < 1 << 63:
        raise ZipError(f"{label}: {member.name} would lie at byte {member.header}; the file is damaged: get it again")
    values = list(CENTRAL.unpack_from(record))
    n, x = values[10], values[11]
    tail = record[CENTRAL.size + n :]
    rest = without_field(tail[:x], ZIP64_ID)
    wide = [v for v in (member.size, member.compressed, member.header) if v >= FULL32]
    if wide:
        rest = EXTRA.pack(ZIP64_ID, 8 * len(wide)) + struct.pack(f"<{len(wide)}Q", *wide) + rest
    values[8], values[9] = min(member.compressed, FULL32), min(member.size, FULL32)
    values[11], values[13], values[16] = len(rest), 0, min(member.header, FULL32)
    return CENTRAL.pack(*values) + record[CENTRAL.size : CENTRAL.size + n] + rest + tail[x:]


def without_field(extra: bytes, unwanted: int) -> bytes:
    """Return extra data without one kind of field; what cannot be read as fields is kept."""
    kept, at = b"", 0
    while at + EXTRA.size <= len(extra):
        ident, length = EXTRA.unpack_from(extra, at)
        stop = at + EXTRA.size + length
        kept += b"" if ident == unwanted else extra[at:stop]
        at = stop
    return kept + extra[at:]


def end_records(count: int, size: int, offset: int, at: int, comment: bytes = b"", zip64: bool = False) -> bytes:
    """Pack what closes an archive at file offset `at`, for a directory of `size` bytes at `offset`."""
    wide = b""
    if zip64 or count >= FULL16 or size >= FULL32 or offset >= FULL32:
        wide = END64.pack(END64_SIGN, END64.size - 12, UNIX << 8 | 45, 45, 0, 0, count, count, size, offset)
        wide += LOCATOR.pack(LOCATOR_SIGN, 0, at, 1)
        count, size, offset = (FULL16, FULL32, FULL32) if zip64 else (
            min(count, FULL16), min(size, FULL32), min(offset, FULL32))
    return wide + END.pack(END_SIGN, 0, 0, count, count, size, offset, len(comment)) + comment


def end_facts(record: bytes) -> tuple[int, int, int] | None:
    """Return count, directory size and offset of an end record as they stand there; None for one volume of several."""
    _, disk, first_disk, here, count, size, offset, _ = END.unpack_from(record)
    if here != count or disk not in (0, FULL16) or first_disk not in (0, FULL16):
        return None
    return count, size, offset


def needs_end64(count: int, size: int, offset: int) -> bool:
    """Whether any of an end record's numbers says that it stands in the ZIP64 end record."""
    return count == FULL16 or FULL32 in (size, offset)


def end64_place(locator: bytes) -> int | None:
    """Return where a ZIP64 locator says the ZIP64 end record lies; None where that is no locator."""
    signature, _, where, _ = LOCATOR.unpack(locator)
    return where if signature == LOCATOR_SIGN else None


def end64_facts(record: bytes) -> tuple[int, int, int] | None:
    """Return count, directory size and offset of a ZIP64 end record; None where that is none, or of several volumes."""
    signature, _, _, _, _, _, here, count, size, offset = END64.unpack(record)
    return (count, size, offset) if signature == END64_SIGN and here == count else None


def comment_length(data: bytes, at: int = 0) -> int:
    """The length of the comment that follows the end record at `at`."""
    return END.unpack_from(data, at)[7]


def mark(end: int) -> bytes:
    """The comment that says up to which byte the archive was whole when a run began."""
    return MARK + b"%0*d" % (MARK_DIGITS, end)


def marked_end(comment: bytes) -> int | None:
    """Return the byte a mark names, or None where the comment is no mark."""
    digits = comment[len(MARK) :]
    if comment.startswith(MARK) and len(digits) == MARK_DIGITS and digits.isdigit():
        return int(digits)
    return None


def dos_time(year: int, month: int, day: int, hour: int, minute: int, second: int) -> tuple[int, int]:
    """Pack a moment into DOS date and time, held within 1980 to 2107, which is all they can say."""
    if year < 1980:
        return 1 << 5 | 1, 0
    if year > 2107:
        return 127 << 9 | 12 << 5 | 31, 23 << 11 | 59 << 5 | 29
    return year - 1980 << 9 | month << 5 | day, hour << 11 | minute << 5 | min(second, 59) // 2


def time_field(mtime: int) -> bytes:
    """The extra field that holds a Unix time, which DOS fields without a time zone cannot."""
    clamped = min(max(mtime, -(1 << 31)), (1 << 31) - 1)
    return EXTRA.pack(TIME_ID, 5) + struct.pack("<Bi", 1, clamped)
