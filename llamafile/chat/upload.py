"""Makes a message of a file that the user gives the model to read."""

from __future__ import annotations

import os

from llamafile.chat import files
from llamafile.errors import LlamafileError

# What a file begins with that is an image; the model would have to see.
_IMAGES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*")
# Suffix → name of the language after the fence, where the suffix itself is not understood.
_LANGUAGES = {"py": "python", "js": "javascript", "ts": "typescript", "rs": "rust", "sh": "bash", "md": "markdown",
              "yml": "yaml", "h": "c", "hpp": "cpp", "cc": "cpp", "rb": "ruby", "kt": "kotlin", "txt": "", "log": ""}


def read(name: str) -> tuple[str, str]:
    """Return a file's name without its folder and the message that shows it; raises LlamafileError for no text."""
    data = files.read(name)
    base = os.path.basename(files.path_of(name))
    if data.startswith(_IMAGES):
        raise LlamafileError(f"{name}: is an image, and this model sees no images; give it a text file")
    if b"\0" in data:
        raise LlamafileError(f"{name}: is no text; give the model a text file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")  # what old text files are in
    return base, message(base, text, len(data))


def message(base: str, text: str, size: int) -> str:
    """Return the message: what the file is called, how large it is, and its text between fences."""
    text = text.replace("\r\n", "\n")
    suffix = os.path.splitext(base)[1].lstrip(".").lower()
    language = _LANGUAGES.get(suffix, suffix if suffix.isalnum() else "")
    fence = "`" * max(3, _longest_run(text) + 1)
    lines = text.count("\n") + (not text.endswith("\n"))
    end = "" if text.endswith("\n") else "\n"
    head = f"The user has uploaded the file {base} ({size} bytes, {lines} lines):"
    return f"{head}\n\n{fence}{language}\n{text}{end}{fence}"


def _longest_run(text: str) -> int:
    """The length of the longest run of backticks, so that a longer fence holds the text."""
    run = 0
    while "`" * (run + 1) in text:
        run += 1
    return run
