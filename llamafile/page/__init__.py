"""The chat page as it is served: its files by name, their types and compressed forms, and the headers they need."""

from __future__ import annotations

import zlib

from llamafile import own

# Only the page itself: no other host, no inline script or style, no frame, no form; and strings become HTML through
# DOMPurify's policy alone.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; "
    "trusted-types dompurify"
)

HEADERS = {
    # Who may frame the page can be said in the header only.
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-cache",
}

TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
    "woff2": "font/woff2",
}

FOLDER = "page"  # of the members in the executable; a checkout has it below build/


class File:
    """One file of the page: its bytes, their gzip form where it has one, content type and entity tag."""

    def __init__(self, name: str, data: bytes, packed: bool) -> None:
        self.data = zlib.decompress(data, 16 + zlib.MAX_WBITS) if packed else data
        self.packed = data if packed else None
        self.type = TYPES.get(name.rpartition(".")[2], "application/octet-stream")
        self.tag = f'"{zlib.crc32(data):08x}-{len(data):x}"'


_files: dict[str, File] = {}


def read(path: str) -> tuple[bytes, str] | None:
    """Return the bytes and content type of a file of the page by its path in the address; None where there is none."""
    found = file(path)
    return (found.data, found.type) if found else None


def file(path: str) -> File | None:
    """Return a file of the page with all that serving it needs; the empty path and / are the page itself."""
    return load().get(path.lstrip("/") or "index.html")


def load() -> dict[str, File]:
    """Read all files once and keep them: afterwards no file is opened. Empty where the page has not been built."""
    if not _files:
        for name, data in stored().items():
            plain = name.removesuffix(".gz")
            _files[plain] = File(plain, data, packed=plain != name)
    return _files


def stored() -> dict[str, bytes]:
    """The files as they are carried: name → bytes, those that compress well as `NAME.gz` only."""
    folder = FOLDER if own.archive() else f"build/{FOLDER}"
    paths = {name.removeprefix(f"{folder}/"): name for name in own.names(folder)}
    return {name: own.read(path) for name, path in paths.items() if f"{name}.gz" not in paths}
