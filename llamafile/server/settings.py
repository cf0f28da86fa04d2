"""What the flags say about the server, read and checked once: keys, origins, folders, names."""

from __future__ import annotations

import os

from llamafile.errors import LlamafileError
from llamafile.locate import read_bytes
from llamafile.server import tls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llamafile.arguments import Options

MOST_BODY = 16 << 20  # bytes of a request's body
MOST_HEADERS = 32 << 10  # bytes of a request's first line and headers
MOST_DEPTH = 128  # lists and objects inside each other in a body
MOST_CONNECTIONS = 512
HEADERS_SECONDS = 20  # from a connection's first byte to the end of a request's headers
IDLE_SECONDS = 65  # that a connection may wait for its next request


class Settings:
    """The server's settings; files that flags name have been read and nothing of them is opened later."""

    def __init__(self, options: Options) -> None:
        """Read and check what the flags name; raises LlamafileError."""
        self.options = options
        self.keys = _keys(options)
        self.origins = _words(options.cors_origins) if options.cors_origins is not None else None
        self.prefix = _prefix(options.api_prefix)
        self.names = _words(options.alias)
        self.tags = _words(options.tags)
        self.slot_folder = _folder(options.slot_save_path, "--slot-save-path")
        self.static_folder = _folder(options.static_path, "--path")
        self.tls = tls.context(options)
        if options.pooling == "rank":
            raise LlamafileError("--pooling rank: this build runs no ranking models; leave it out")


def _words(text: str | None) -> list[str]:
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def _keys(options: Options) -> list[bytes]:
    keys = [key for item in options.api_key for key in _words(item)]
    if options.api_key_file is not None:
        lines = read_bytes(options.api_key_file).decode("utf-8", "surrogateescape").splitlines()
        keys += [line.strip() for line in lines if line.strip()]
        if not keys:
            raise LlamafileError(f"--api-key-file: {options.api_key_file} has no key in it; write one a line")
    return [key.encode("utf-8", "surrogateescape") for key in keys]


def _prefix(text: str) -> str:
    prefix = text.rstrip("/")
    if prefix and not prefix.startswith("/"):
        raise LlamafileError(f"--api-prefix: {text!r} does not begin with a slash; write /{prefix}")
    return prefix


def _folder(path: str | None, flag: str) -> str | None:
    if path is None:
        return None
    if not os.path.isdir(path):
        raise LlamafileError(f"{flag}: {path}: is no folder; make it first")
    return os.path.abspath(path)
