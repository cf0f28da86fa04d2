"""Opening GGUF files in place: one file or several parts, alone or inside another file."""

from __future__ import annotations

import os
import struct

from llamafile._native import ffi, lib
from llamafile.errors import LlamafileError
from runtime.quants import BY_ID, laid_out, title

from .file import File, Tensor
from .mapping import Mapping
from .values import ARRAY, SCALARS, STRING, Array

__all__ = ["Array", "File", "Mapping", "Tensor", "open_path", "open_region"]

KEY, TENSOR = struct.Struct("<4Q4I"), struct.Struct("<6Q4I")  # lf_gguf_key and lf_gguf_tensor
ROOM = 256, 1024  # records that the first walk has room for; a bigger file is walked again
HEADER_LIMIT = 1 << 28  # bytes; real metadata take up to 30 MB, and damage must not cost a walk through 40 GB
LONG_TEXT = 1 << 16  # bytes; longer text must be valid UTF-8, shorter is shown with replacement characters
DATA_ALIGNMENT = 32  # bytes; what kernels and devices may count on, where the file itself promises as much
OTHERS = {b"PK\3\4": "is a ZIP archive", b"\x7fELF": "is a program", b"lmgg": "is a GGML file from before GGUF",
          b"fmgg": "is a GGML file from before GGUF", b"tjgg": "is a GGML file from before GGUF",
          b"vers": "is text, perhaps a Git LFS pointer", b"<!DO": "is a web page", b"<!do": "is a web page"}


def open_path(path):
    """Open the GGUF at a path, with the parts beside it where it is the first of several; return a File."""
    path = os.fspath(path)
    folder, name = os.path.split(path)
    opened = []

    def beside(sibling):
        where = os.path.join(folder, sibling)
        if not os.path.isfile(where):
            return None
        try:
            opened.append(os.open(where, os.O_RDONLY | getattr(os, "O_BINARY", 0)))
        except OSError as problem:
            raise LlamafileError(f"{where}: cannot be opened: {problem.strerror}; check its permissions") from None
        return opened[-1], 0, os.fstat(opened[-1]).st_size, where

    try:
        place = beside(name)
        if not place:
            state = "is not a file" if os.path.exists(path) else "does not exist"
            raise LlamafileError(f"{path}: {state}; check the name")
        return _fill(File(path), place, name, beside)
    finally:
        for fd in opened:
            os.close(fd)


def open_region(fd, offset, length, label, sibling=None):
    """Open a GGUF of `length` bytes that lies at `offset` of an open file; return a File, which needs fd no longer.

    sibling(name) -> (fd, offset, length, label) or None finds the other parts of a split model by their file names.
    """
    name = label.rpartition("/")[2].rpartition("@")[2]
    return _fill(File(label), (fd, offset, length, label), name, sibling or (lambda name: None))


def _fill(file, place, name, sibling):
    """Read the part at `place`, and all others where it is the first; leave nothing open after an error."""
    try:
        _read_part(file, place)
        parts = file.integer("split.count", 1, 0, 65535)
        if parts > 1:
            _read_other_parts(file, parts, name, sibling)
    except BaseException:
        file.close()
        raise
    return file


def _read_other_parts(file, parts, name, sibling):
    number, ending = file.integer("split.no", 0, 0, parts - 1), f"-00001-of-{parts:05}.gguf"
    if number:
        first = name.replace(f"-{number + 1:05}-of-", "-00001-of-")
        raise LlamafileError(f"{file.label}: is part {number + 1} of {parts}; give the first part, {first}")
    if not name.endswith(ending):
        raise LlamafileError(f"{file.label}: is part 1 of {parts}, but its name does not end in {ending}; rename it "
                             "and the other parts so")
    for index in range(1, parts):
        other = f"{name[: -len(ending)]}-{index + 1:05}{ending[6:]}"
        place = sibling(other)
        if not place:
            raise LlamafileError(f"{other}: is missing beside {name}; put all {parts} parts in one place")
        part = File(place[3])
        part.mappings = file.mappings
        _read_part(part, place)
        if part.integer("split.no", 0) != index or part.integer("split.count", 0) != parts:
            raise LlamafileError(f"{part.label}: is not part {index + 1} of {parts}; download the parts again")
        for tensor in part.tensors.values():
            _add_tensor(file, tensor)
    total = file.integer("split.tensors.count", len(file.tensors))
    if total != len(file.tensors):
        raise LlamafileError(f"{file.label}: its {parts} parts hold {len(file.tensors)} tensors, expected {total}; "
                             "download the parts again")


def _read_part(file, place):
    """Map one part, append its mapping to the file's, and add its keys and tensors."""
    fd, offset, length, label = place
    mapping = Mapping(fd, offset, length, label)
    file.mappings.append(mapping)
    _check_magic(label, bytes(mapping.view[:8]))
    head, keys, tensors = _walk(label, mapping)
    file.version = head.version
    for record in KEY.iter_unpack(keys):
        _add_key(file, record)
    alignment = file.alignment = file.integer("general.alignment", 32, 8, 2**31)
    if alignment & (alignment - 1):
        raise LlamafileError(f"{label}: key general.alignment is {alignment}, expected a power of two from 8 on; "
                             "convert the model again")
    start = (head.end + alignment - 1) // alignment * alignment
    if tensors and (offset + start) % min(alignment, DATA_ALIGNMENT):
        raise LlamafileError(f"{label}: its tensors lie at byte {offset + start} of the file, not on a multiple of "
                             f"{DATA_ALIGNMENT}; zipalign it again or copy it out")
    for record in TENSOR.iter_unpack(tensors):
        _add_tensor(file, _tensor(file, record, start))


def _check_magic(label, start):
    if start[:4] != b"GGUF":
        raise LlamafileError(f"{label}: {OTHERS.get(start[:4], 'is something else')}, not GGUF; give a .gguf file")
    if len(start) < 8:
        raise LlamafileError(f"{label}: is cut off after {len(start)} bytes; download it again")
    version = int.from_bytes(start[4:], "little")
    if version and not version & 0xFFFF:
        raise LlamafileError(f"{label}: is a GGUF for big-endian machines; take the little-endian one")
    if not 1 <= version <= 3:
        raise LlamafileError(f"{label}: is GGUF version {version}, this build reads 1 to 3; look for a newer build")


def _walk(label, mapping):
    """Let C walk the metadata; return its head, and the bytes of the key records and tensor records."""
    head, room = ffi.new("lf_gguf_head *"), ROOM
    size = min(mapping.length, HEADER_LIMIT)
    while True:
        keys, tensors = ffi.new("lf_gguf_key[]", room[0]), ffi.new("lf_gguf_tensor[]", room[1])
        if lib.lf_gguf_walk(ffi.cast("void *", mapping.address), size, head, keys, room[0], tensors, room[1]):
            where = ("the head", f"key {head.record + 1}", f"tensor {head.record + 1}")[head.where]
            problem = ffi.string(head.error).decode()
            raise LlamafileError(f"{label}: {problem} ({where}, byte {head.at}); it is damaged or cut off, download it "
                                 "again")
        if head.keys <= room[0] and head.tensors <= room[1]:
            return head, ffi.buffer(keys)[: head.keys * KEY.size], ffi.buffer(tensors)[: head.tensors * TENSOR.size]
        room = head.keys, head.tensors


def _text(file, what, at, end, errors="strict"):
    """Decode UTF-8 from the newest mapping; version 1 writers ended some strings with a zero byte."""
    try:
        text = str(file.mappings[-1].view[at:end], "utf-8", errors)
    except UnicodeDecodeError:
        raise LlamafileError(f"{file.label}: {what} at byte {at} is not UTF-8; the file is damaged, download it "
                             "again") from None
    return text.rstrip("\0") if file.version == 1 else text


def _name(file, kind, at, size):
    """Return a key's or tensor's name, which is known to go well into one line."""
    name = _text(file, f"the name of a {kind}", at, at + size)
    if not name.isprintable():
        raise LlamafileError(f"{file.label}: the name of a {kind} at byte {at} has control characters; the file is "
                             "damaged, download it again")
    return name


def _add_key(file, record):
    name_at, at, count, end, name_size, type, item, _ = record
    name = _name(file, "key", name_at, name_size)
    if name in file.keys:
        raise LlamafileError(f"{file.label}: key {name} is there twice; the file is damaged, download it again")
    view = file.mappings[-1].view
    if type == STRING:
        value = _text(file, f"key {name}", at, end, "replace" if count <= LONG_TEXT else "strict")
    elif type == ARRAY:
        value = Array(item, count, len(file.mappings) - 1, at, end - at, 4 if file.version == 1 else 8, view)
    else:
        value = SCALARS[type].unpack_from(view, at)[0]
    file.keys[name] = value
    file.spans[name] = type, name_at + name_size + 4, end


def _tensor(file, record, start):
    """Make a Tensor of a record; the data section begins at `start` of the newest mapping."""
    name_at, *ne, offset, name_size, type, dimensions, _ = record
    name = _name(file, "tensor", name_at, name_size)
    count = ne[0] * ne[1] * ne[2] * ne[3]
    length = file.mappings[-1].length
    problem, nbytes, form = None, 0, BY_ID.get(type)
    if form:
        nbytes = count // form.block * form.size
        if ne[0] % form.block:
            problem = f"has rows of {ne[0]}, no multiple of the {form.block} in a block of {title(type)}"
        elif form.plain and ne[1] % laid_out.ROWS:
            problem = f"has {ne[1]} rows, no multiple of the {laid_out.ROWS} in a panel of {title(type)}"
    if not count:
        problem = "has a dimension of 0"
    elif offset % file.alignment:
        problem = f"lies at byte {offset}, no multiple of the alignment {file.alignment}"
    elif start + offset + nbytes > length:
        problem = f"ends at byte {start + offset + nbytes}, the file at {length}"
    if problem:
        raise LlamafileError(f"{file.label}: tensor {name} {problem}; it is damaged or cut off, download it again")
    type_at = name_at + name_size + 4 + dimensions * (4 if file.version == 1 else 8)
    return Tensor(name, type, tuple(ne[: dimensions or 1]), len(file.mappings) - 1, start + offset, nbytes, type_at)


def _add_tensor(file, tensor):
    if tensor.name in file.tensors:
        raise LlamafileError(f"{file.label}: tensor {tensor.name} is there twice; download the file again")
    file.tensors[tensor.name] = tensor
