"""The page, or the files of --path in its place: all read into memory before the door closes, found by their names."""

from __future__ import annotations

import os
import zlib

from llamafile import page
from llamafile.errors import LlamafileError
from llamafile.server.call import Answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llamafile.server.exchange import Exchange
    from llamafile.server.settings import Settings

MOST = 256 << 20  # bytes of files below --path
TYPES = {
    **page.TYPES, "htm": "text/html; charset=utf-8", "mjs": page.TYPES["js"], "json": "application/json",
    "md": page.TYPES["txt"], "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif",
    "webp": "image/webp", "ico": "image/x-icon", "wasm": "application/wasm", "pdf": "application/pdf",
}  # fmt: skip
NO_PAGE = (b"<!doctype html><meta charset=utf-8><title>llamafile</title><p>llamafile serves its HTTP interface here: "
           b"see <a href=openapi.json>openapi.json</a>. This build has no page.\n")


class File:
    """A file as it is served; `packed` is its gzip form, or None."""

    def __init__(self, name: str, data: bytes) -> None:
        self.data, self.packed = data, None
        self.type = TYPES.get(name.rpartition(".")[2].lower(), "application/octet-stream")
        self.tag = f'"{zlib.crc32(data):08x}-{len(data):x}"'


class Files:
    """What stands at the paths that are no endpoints."""

    def __init__(self, settings: Settings) -> None:
        """Read them all; raises LlamafileError where a folder of --path cannot be read, or is too large."""
        self.headers: list[tuple[str, str]] = [("x-content-type-options", "nosniff"), ("cache-control", "no-cache")]
        self.found: dict[str, page.File | File] = {}
        if settings.static_folder is not None:
            self.found = _below(settings.static_folder)
        elif settings.options.ui:
            self.found = dict(page.load())
            if self.found:
                self.headers = [(name.lower(), value) for name, value in page.HEADERS.items()]
            else:
                self.found = {"index.html": File("index.html", NO_PAGE)}

    def find(self, path: str) -> page.File | File | None:
        """Return the file at a path; a folder is its index.html."""
        name = path.lstrip("/")
        return self.found.get(name) or self.found.get(f"{name.rstrip('/')}/index.html".lstrip("/"))

    def answer(self, exchange: Exchange, file: page.File | File) -> Answer:
        """Return the answer: the file, packed where the client takes that, or that it has not changed."""
        headers = [*self.headers, ("etag", file.tag), ("vary", "Accept-Encoding")]
        if exchange.headers.get("if-none-match") == file.tag:
            return Answer(status=304, headers=headers)
        if file.packed is not None and "gzip" in exchange.headers.get("accept-encoding", ""):
            return Answer(file.packed, file.type, headers=[*headers, ("content-encoding", "gzip")])
        return Answer(file.data, file.type, headers=headers)


def _below(folder: str) -> dict[str, page.File | File]:
    """Read every regular file below a folder, by its path from there; links that lead outside are left out."""
    found: dict[str, page.File | File] = {}
    top, size = os.path.realpath(folder), 0
    for at, _, names in os.walk(top):
        for name in sorted(names):
            path = os.path.join(at, name)
            if not os.path.isfile(path) or not os.path.realpath(path).startswith(top.rstrip("/") + "/"):
                continue
            size += os.path.getsize(path)
            if size > MOST:
                raise LlamafileError(f"--path: {folder} holds more than {MOST >> 20} MiB; give the folder of a page")
            with open(path, "rb") as file:
                found[os.path.relpath(path, top)] = File(name, file.read())
    return found
