"""The sampler's C under AddressSanitizer and UBSan, fed random and hostile parameters, logits and tokens."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from runtime.build import FLAGS, SANITIZERS, WARNINGS

SOURCES = Path(__file__).parents[2] / "llamafile" / "sampling"


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory) -> Path:
    program = tmp_path_factory.mktemp("fuzz") / "fuzz"
    files = [Path(__file__).with_name("fuzz.c"), *sorted(SOURCES.glob("*.c"))]
    flags = [f for f in FLAGS if f != "-O3"]
    command = [os.environ.get("CC") or "cc", *flags, "-O1", *SANITIZERS, "-fsanitize=float-cast-overflow", *WARNINGS,
               f"-I{SOURCES}", *map(str, files), "-Wl,--wrap=malloc,--wrap=calloc", "-lm", "-o", str(program)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return program


def run(program: Path, cases: int) -> tuple[int, int]:
    """Return how many samplers were made and how many refused; a read out of bounds or an allocation fails."""
    done = subprocess.run([program, str(cases)], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    _, made, _, refused = done.stdout.split()
    return int(made), int(refused)


def test_random_calls(fuzz):
    made, refused = run(fuzz, 1500)
    assert made > 1000 and refused > 50


@pytest.mark.long
def test_random_calls_for_long(fuzz):
    made, _ = run(fuzz, 100_000)
    assert made > 80_000
