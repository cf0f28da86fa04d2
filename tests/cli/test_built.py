"""The built executable with weights put in: `.args` of both generations, convert, names of members, help and checks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from llamafile import __main__
from tests.cli.boxes import aligned
from tests.executable.built import BUILT

pytestmark = [pytest.mark.built, pytest.mark.models]

ROOT = Path(__main__.__file__).parents[1]
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith(("LLAMA_", "PYTHON"))}


@pytest.fixture(scope="module")
def engine():
    if not BUILT.exists():
        pytest.skip(f"{BUILT} is not built; make executable")
    return BUILT


def run(program, *words, **more):
    options = {"capture_output": True, "text": True, "env": ENVIRONMENT, "stdin": subprocess.DEVNULL, "timeout": 300,
               **more}
    return subprocess.run([str(program), *words], **options)


@pytest.fixture
def packed(engine, tinycoder, tmp_path):
    """A function that makes an executable with the small model and a `.args`."""
    def pack(args: bytes):
        path = tmp_path / "tiny.llamafile"
        shutil.copy(engine, path)
        aligned(path, {"tiny.gguf": Path(tinycoder).read_bytes(), ".args": args})
        return path

    return pack


@pytest.fixture(scope="module")
def expected(tinycoder):
    """What the sources write for the prompt `def`."""
    words = ["-m", tinycoder, "-p", "def", "-n", "5", "--temp", "0", "-t", "1"]
    return run(sys.executable, "-m", "llamafile", *words, cwd=ROOT).stdout


@pytest.mark.parametrize("args", [
    b"-m\ntiny.gguf\n--temp\n0\n-t\n1\n...\n-n\n5\n",
    b"-m /zip/tiny.gguf # the weights\n--temp 0 -t 1\n-n 5 ...\n",
    b"--temp 0 -t 1 -n 5\n",
])
def test_both_generations_of_args(packed, expected, args):
    program = packed(args)
    done = run(program, "-p", "def")
    assert (done.returncode, done.stdout) == (0, expected)


def test_the_user_wins_over_what_comes_before(packed):
    program = packed(b"-m\ntiny.gguf\n-n\n5\n...\n")
    assert run(program, "-p", "def", "-n", "0").stdout == "def\n"


def test_args_that_this_version_refuses(packed):
    done = run(packed(b"-m\ntiny.gguf\n--mmproj\nx.gguf\n...\n"), "-p", "x")
    assert done.returncode == 1
    assert done.stderr == ("llamafile: --mmproj (from .args): not in this version yet; remove it with zipalign and a "
                           "new .args\n")


def test_without_arguments_help(engine):
    done = run(engine)
    assert done.returncode == 0 and done.stdout.startswith("NAME:\n  llamafile - ") and done.stderr == ""


def test_with_weights_it_answers_what_is_piped_in(packed):
    program = packed(b"-m\ntiny.gguf\n-n\n4\n--temp\n0\n...\n")
    done = run(program, stdin=None, input="def main():")
    assert done.returncode == 0 and done.stdout.strip() and "def main" not in done.stdout


def test_convert_by_the_executable_itself(engine, tinycoder, expected, tmp_path):
    done = run(engine, "convert", tinycoder, "-o", "new", "--", "--temp", "0", "-t", "1", "-n", "5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert run(tmp_path / "new", "-p", "def").stdout == expected
    checked = run(tmp_path / "new", "--verify")
    assert checked.returncode == 0 and checked.stdout.endswith("members are sound\n")
    # The converted executable makes the next one, without its own weights.
    (tmp_path / "other.gguf").write_bytes(Path(tinycoder).read_bytes())
    assert run(tmp_path / "new", "convert", "other.gguf", "-o", "newer", cwd=tmp_path).returncode == 0
    assert run(tmp_path / "newer", "-p", "def", "-n", "5", "--temp", "0", "-t", "1").stdout == expected
    assert abs((tmp_path / "newer").stat().st_size - (tmp_path / "new").stat().st_size) < 65536


def test_version_names_the_build(engine):
    lines = run(engine, "--version").stdout.splitlines()
    assert lines[0].startswith("llamafile 0.") and "(revision " in lines[0] and lines[2].startswith("instruction set ")


def test_damage_is_found(packed):
    program = packed(b"...\n")
    data = bytearray(program.read_bytes())
    at = data.rindex(b"GGUF\x03\0\0\0") + 5000
    data[at] ^= 1
    program.write_bytes(data)
    done = run(program, "--verify")
    assert done.returncode == 1 and "tiny.gguf" in done.stderr and done.stderr.count("\n") == 1


def test_an_interrupted_packaging_is_said(packed):
    program = packed(b"...\n")
    with open(program, "r+b") as file:
        file.truncate(program.stat().st_size - 10)
    done = run(program, "-p", "x")
    assert done.returncode != 0 and "Traceback" not in done.stderr
