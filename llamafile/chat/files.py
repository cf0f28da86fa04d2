"""The files that commands name: read and written here alone, through the sandbox's broker where there is one."""

from __future__ import annotations

import os

from llamafile.errors import LlamafileError
from llamafile.sandbox import files as opened

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import BinaryIO

LARGEST = 64 << 20  # bytes; a text of so many does not fit any context


def path_of(name: str) -> str:
    """Return the path that somebody typed: quotes around it are taken off, ~ is the home folder."""
    if len(name) > 1 and name[0] == name[-1] and name[0] in "'\"":
        name = name[1:-1]
    return os.path.expanduser(name)


def reading(name: str) -> BinaryIO:
    """Open a file to read its bytes; raises LlamafileError for one that cannot be."""
    path = _checked(name)
    try:
        return opened.reading(path)
    except OSError as problem:
        raise LlamafileError(f"{name}: cannot be read: {problem.strerror}; check the name") from None


def replacing(name: str) -> AbstractContextManager[BinaryIO]:
    """A with block that yields a new binary file, which then takes the place of the old one, whole or not at all."""
    path = _checked(name)
    try:
        return opened.replacing(path)
    except OSError as problem:
        raise LlamafileError(f"{name}: cannot be written: {problem.strerror}; choose another name") from None


def _checked(name: str) -> str:
    """Return the path; LlamafileError where something else than a file stands there: it could hang, or vanish."""
    path = path_of(name)
    if "\0" in path:
        raise LlamafileError(f"{name!r}: is no name of a file; check the name")
    if os.path.exists(path) and not os.path.isfile(path):
        raise LlamafileError(f"{name}: is no file; check the name")
    return path


def read(name: str) -> bytes:
    """Return a file's bytes; raises LlamafileError for one that cannot be read or is too large."""
    try:
        with reading(name) as file:
            data = file.read(LARGEST + 1)
    except OSError as problem:
        raise LlamafileError(f"{name}: cannot be read: {problem.strerror}; check the name") from None
    if data is None or len(data) > LARGEST:
        raise LlamafileError(f"{name}: is larger than {LARGEST >> 20} MiB, or no file; give a smaller one")
    return data


def read_text(name: str) -> str:
    """Return a file's text, without a byte order mark; raises LlamafileError for one that is no UTF-8 text."""
    data = read(name)
    try:
        if b"\0" in data:
            raise ValueError
        return data.decode("utf-8-sig")
    except ValueError:
        raise LlamafileError(f"{name}: is no text; give a file in UTF-8") from None


def write(name: str, text: str) -> None:
    """Write a text to a file, whole or not at all; raises LlamafileError where that fails."""
    try:
        with replacing(name) as file:
            file.write(text.encode("utf-8", "replace"))
    except OSError as problem:
        raise LlamafileError(f"{name}: cannot be written: {problem.strerror}; choose another name") from None
