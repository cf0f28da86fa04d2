"""What the flags say about the server, read and checked once: keys, origins, folders, names."""

from __future__ import annotations

import os

from llamafile.errors import LlamafileError
from llamafile.locate import read_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

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
        self.tls = _tls(options)
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


def _tls(options: Options) -> Any:
    """Return an SSLContext, or None where no certificate is given."""
    if options.ssl_key_file is None and options.ssl_cert_file is None:
        return None
    if options.ssl_key_file is None or options.ssl_cert_file is None:
        raise LlamafileError("TLS: needs both --ssl-key-file and --ssl-cert-file; give the other one too")
    try:
        import ssl
    except ImportError:
        raise LlamafileError("TLS: this executable was built without OpenSSL; put a proxy that speaks TLS before it, "
                             "or use one that `make executable` builds") from None

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(options.ssl_cert_file, options.ssl_key_file, password=_no_password)
    except OSError as problem:  # ssl.SSLError is one
        reason = problem.strerror or str(problem)
        raise LlamafileError(f"TLS: {options.ssl_cert_file} and {options.ssl_key_file}: {reason}; give a certificate "
                             "and its key as PEM") from None
    except ValueError as problem:
        raise LlamafileError(f"TLS: {options.ssl_key_file}: {problem}; give a key without a password") from None
    return context


def _no_password(*_: object) -> str:
    raise ValueError("the key is protected by a password")
