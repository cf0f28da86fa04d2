"""Finds what -m names: a GGUF file, a member of this executable or of another archive, the weights of a llamafile."""

from __future__ import annotations

import os

from llamafile import args_file, own
from llamafile.errors import LlamafileError
from llamafile.flags import SPELLINGS
from zipalign import ZipError
from zipalign.reader import Archive, stored_size
from zipalign.records import STORED, Member

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from llamafile.gguf.file import File

INSIDE = "/zip/"
ARGS = ".args"
_SUFFIX = ".gguf"
_ARCHIVES = (b"PK", b"\x7fELF", b"MZ", b"#!")  # what a ZIP file or an executable with one begins with
_LISTED = 8  # members that a message names


def open_model(name: str | None) -> File:
    """Open the model of that name, or the only one in this executable where it is None; raises LlamafileError."""
    archive = own.archive()
    if name is None:
        if archive is None or not weights(archive):
            raise LlamafileError("-m: there is no model in this executable; name a .gguf file")
        return open_member(archive, choose(archive, "this executable"))
    if name.startswith(INSIDE):
        return open_member(_need_own(archive, name), name[len(INSIDE) :])
    if os.path.isfile(name):
        return _open_file(name)
    outer, inner = _split_at(name)
    if outer:
        with Archive.open(outer) as other:
            return open_member(other, inner)
    if archive is not None and name in archive.members:
        return open_member(archive, name)
    raise LlamafileError(_missing(name, archive))


def has_weights() -> bool:
    """Whether this program carries weights of its own."""
    archive = own.archive()
    return archive is not None and bool(weights(archive))


def open_member(archive: Archive, name: str) -> File:
    """Open a stored GGUF member, with the parts beside it where it is the first of several; raises LlamafileError."""
    from llamafile.gguf import reader

    if name not in archive.members:
        raise LlamafileError(f"{archive.label}@{name}: there is no such member{_inside(archive)}; check the name")
    folder, slash, _ = name.rpartition("/")

    def sibling(part: str) -> tuple[int, int, int, str] | None:
        member = archive.members.get(folder + slash + part)
        return None if member is None else _region(archive, member)

    return reader.open_region(*_region(archive, archive.members[name]), sibling)


def read_bytes(path: str) -> bytes:
    """Return the content of a file, a pipe, or a member named /zip/NAME; raises LlamafileError."""
    if path.startswith(INSIDE):
        archive = _need_own(own.archive(), path)
        member = archive.members.get(path[len(INSIDE) :])
        if member is None:
            raise LlamafileError(f"{path}: there is no such member{_inside(archive)}; check the name")
        return archive.read(member)
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as problem:
        raise LlamafileError(f"{path}: cannot be read: {problem.strerror}; check the name") from None


def shipped_arguments() -> list[str | args_file.Place]:
    """Return what the `.args` member of this executable says, nothing where there is none."""
    archive = own.archive()
    member = None if archive is None else archive.members.get(ARGS)
    return [] if archive is None or member is None else args_file.parse(archive.read(member))


def weights(archive: Archive) -> list[str]:
    """Return the names of the GGUF members; of a model in several parts only the first."""
    return [name for name in archive.members if name.lower().endswith(_SUFFIX) and not is_later_part(name)]


def choose(archive: Archive, label: str) -> str:
    """Return the one model in an archive: the only GGUF, or the one that the archive's own `.args` names by -m."""
    names = weights(archive)
    if len(names) == 1:
        return names[0]
    if not names:
        raise LlamafileError(f"{label}: holds no .gguf member; add one with zipalign")
    named = _named_by_args(archive)
    if named in names:
        return named
    raise LlamafileError(f"{label}: holds several models; choose one of {_some(names)} by -m")


def _named_by_args(archive: Archive) -> str:
    member, named = archive.members.get(ARGS), ""
    words = [] if member is None else args_file.parse(archive.read(member))
    model = SPELLINGS["-m"][0]
    for word, following in zip(words, words[1:], strict=False):  # noqa: RUF007 - no itertools on the way of a start
        if word in model.names and isinstance(following, str):
            named = following.removeprefix(INSIDE)
    return named


def archive_at(path: str) -> Archive | None:
    """Open the file at a path as an archive; None where it is a GGUF, or nothing that looks like an archive."""
    try:
        with open(path, "rb") as file:
            magic = file.read(4)
    except OSError as problem:
        raise LlamafileError(f"{path}: cannot be opened: {problem.strerror}; check the name") from None
    if magic == b"GGUF":
        return None
    try:
        return Archive.open(path)  # one made by zipalign may begin with zeros
    except ZipError:
        if magic.startswith(_ARCHIVES):
            raise
        return None


def _open_file(path: str) -> File:
    """Open a GGUF file, or the weights in a ZIP file or a llamafile, given by a path."""
    from llamafile.gguf import reader

    archive = archive_at(path)
    if archive is None:
        return reader.open_path(path)  # which says what a file is that is no GGUF
    with archive:
        return open_member(archive, choose(archive, path))


def _region(archive: Archive, member: Member) -> tuple[int, int, int, str]:
    label = f"{archive.label}@{member.name}"
    archive.refuse_encrypted(member)
    if member.method != STORED:
        raise LlamafileError(f"{label}: is compressed and cannot be mapped; add it again with zipalign -0")
    return archive.fd, archive.data_offset(member), stored_size(archive, member), label


def is_later_part(name: str) -> bool:
    """Whether a name ends in -00002-of-00003.gguf or the like, with any number but 1."""
    tail = name[-len("-00002-of-00003.gguf") :]
    first, last = tail[1:6], tail[10:15]
    split = tail[:1] == "-" and tail[6:10] == "-of-" and tail[15:].lower() == _SUFFIX
    return split and first.isdigit() and last.isdigit() and int(first) != 1


def _split_at(name: str) -> tuple[str, str]:
    """Split ARCHIVE@MEMBER at the first @ before which there is a file; two empty strings where there is none."""
    at = name.find("@")
    while at >= 0:
        if os.path.isfile(name[:at]):
            return name[:at], name[at + 1 :]
        at = name.find("@", at + 1)
    return "", ""


def _need_own(archive: Archive | None, name: str) -> Archive:
    if archive is None:
        raise LlamafileError(f"{name}: this program runs from its sources and has no members; give a file")
    return archive


def _missing(name: str, archive: Archive | None) -> str:
    if os.path.isdir(name):
        return f"{name}: is a folder; give the .gguf file in it"
    if archive is None:
        return f"{name}: there is no such file; check the name"
    return f"{name}: is neither a file nor a member of this executable{_inside(archive)}; check the name"


def _inside(archive: Archive) -> str:
    names = weights(archive)
    return f" (it holds {_some(names)})" if names else ""


def _some(names: Iterable[str]) -> str:
    shown = list(names)
    return ", ".join(shown[:_LISTED]) + (", ..." if len(shown) > _LISTED else "")
