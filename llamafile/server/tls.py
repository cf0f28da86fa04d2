"""The certificate and key that the flags name, as the TLS side of the server; OpenSSL is loaded here and only here."""

from __future__ import annotations

import os

from llamafile.errors import LlamafileError
from llamafile.locate import read_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llamafile.arguments import Options

_NO_PAIR = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")  # the last for another kind of key
_MARKS = ((b"CERTIFICATE-----", "certificate"), (b"PRIVATE KEY-----", "private key"))


def context(options: Options) -> Any:
    """Return an SSLContext, or None where no certificate is asked for; raises LlamafileError for what is no pair."""
    cert, key = options.ssl_cert_file, options.ssl_key_file
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise LlamafileError("TLS: needs both --ssl-key-file and --ssl-cert-file; give the other one too")
    for path, (mark, what) in zip((cert, key), _MARKS, strict=True):
        if not _is_stream(path) and mark not in read_bytes(path):
            raise LlamafileError(f"TLS: {path}: has no {what} as PEM in it; convert it with openssl")
    try:
        import ssl
    except ImportError:
        raise LlamafileError("TLS: this executable was built with a Python that has no OpenSSL; put a proxy that "
                             "speaks TLS before it, or use a release") from None
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.minimum_version = ssl.TLSVersion.TLSv1_2
    found.set_alpn_protocols(["http/1.1"])
    try:
        found.load_cert_chain(cert, key, password=_no_password)
    except ssl.SSLError as problem:
        raise LlamafileError(f"TLS: {cert} and {key}: {_said(problem)}; give a certificate and its key as "
                             "PEM") from None
    except OSError as problem:
        raise LlamafileError(f"TLS: {cert} and {key}: {problem.strerror or problem}") from None
    except ValueError as problem:
        raise LlamafileError(f"TLS: {key}: {problem}; give a key without a password") from None
    return found


def _is_stream(path: str) -> bool:
    """Whether this can be read once only, as what a shell's <(command) gives."""
    return os.path.exists(path) and not os.path.isfile(path)


def _said(problem: Any) -> str:
    if problem.reason in _NO_PAIR:
        return "the key does not belong to the certificate"
    reason = (problem.reason or "").replace("_", " ").lower()
    return f"one of them is damaged ({reason or problem.strerror})"


def _no_password(*_: object) -> str:
    raise ValueError("the key is protected by a password")
