"""Files that are read or written late: by the broker where this process has one, else directly."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from contextlib import AbstractContextManager
    from io import BufferedReader
    from typing import BinaryIO

    from llamafile.sandbox.broker import Broker

_brokers: list[Broker] = []
_folders: dict[str, str] = {}  # path → key


def start(*, paths: Iterable[str] = (), folders: Mapping[str, str] | None = None, keyboard: bool = False,
          endings: Iterable[str] = ()) -> Broker:
    """Fork the process's broker; see Broker.start. From then on `reading` and `replacing` go through it."""
    from llamafile.sandbox.broker import Broker

    broker = Broker.start(paths=paths, folders=folders, keyboard=keyboard, endings=endings)
    _brokers.append(broker)
    _folders.update((os.path.abspath(path), key) for key, path in (folders or {}).items())
    return broker


def reading(path: str) -> BufferedReader:
    """Open a file to read its bytes; raises OSError, and LlamafileError where it may not be opened."""
    if not _brokers:
        return open(path, "rb")
    folder, name = os.path.split(os.path.abspath(path))
    key = _folders.get(folder)
    fd = _brokers[-1].open(path) if key is None else _brokers[-1].open_in(key, name)
    return os.fdopen(fd, "rb")


def replacing(path: str) -> AbstractContextManager[BinaryIO]:
    """A with block that yields a new binary file; without an exception it then takes the place of the one at path.

    Raises OSError, and LlamafileError where it may not be written."""
    if not _brokers:
        return _Direct(path)
    folder, name = os.path.split(os.path.abspath(path))
    key = _folders.get(folder)
    return _brokers[-1].replacing(path) if key is None else _brokers[-1].replacing_in(key, name)


class _Direct:
    """The same without a broker."""

    def __init__(self, path: str) -> None:
        self.path, self.fresh = path, f"{path}.{os.getpid()}.part"

    def __enter__(self) -> BinaryIO:
        self.file = open(self.fresh, "wb")
        return self.file

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            self.file.close()  # which may find the disk full
            if kind is None:
                os.replace(self.fresh, self.path)
        finally:
            if os.path.exists(self.fresh):
                os.unlink(self.fresh)


def close() -> None:
    """End the broker, if there is one."""
    while _brokers:
        _brokers.pop().close()
    _folders.clear()
