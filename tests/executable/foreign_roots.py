"""Runs a built executable inside root file systems of other distribution releases, which have no Python.

`python -m tests.executable.foreign_roots EXECUTABLE [MODEL]`: needs root, and debootstrap, which is installed where it
is missing. Each root is made once in a cache folder. Prints one line a root, with its C library's version.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from llamafile.freeze.sources import debian_mirror
from tests import weights

CACHE = Path(os.environ.get("LLAMAFILE_TEST_CACHE") or Path.home() / ".cache" / "llamafile-weights") / "roots"
RELEASES = ("buster", "bullseye", "bookworm", "trixie", "sid")
PROMPT = ("-p", "The sea is", "-n", "8", "--temp", "0", "--seed", "1")


class Unavailable(Exception):
    """A release that the mirror no longer has."""


def root_of(release: str) -> Path:
    """The folder of a minimal root file system of a Debian release, made by debootstrap once."""
    target = CACHE / release
    if (target / "complete").exists():
        return target
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    mirror, _ = debian_mirror()
    # Essential packages alone, unpacked and not configured: the C library is all that is asked of them.
    command = ["debootstrap", "--variant=minbase", "--foreign", "--no-check-gpg", release, target, mirror]
    done = subprocess.run([os.fspath(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        raise Unavailable((done.stdout + done.stderr).strip().splitlines()[-1])
    (target / "complete").touch()
    return target


def try_in(root: Path, executable: Path, model: Path) -> str:
    """Copy the executable and the model in, run both ways, and return what it wrote."""
    place = root / "opt"
    place.mkdir(exist_ok=True)
    shutil.copy(executable, place / "llamafile")
    shutil.copy(model, place / "model.gguf")
    pythons = [path for folder in ("usr/bin", "bin") for path in (root / folder).glob("python*")]
    if pythons:
        raise AssertionError(f"{root}: has a Python of its own: {pythons}")
    version = _inside(root, "/opt/llamafile", "--version")
    assert version.startswith("llamafile "), version
    answer = _inside(root, "/opt/llamafile", "-m", "/opt/model.gguf", *PROMPT)
    assert answer.strip(), "no text"
    return answer.strip()


def _inside(root: Path, *command: str) -> str:
    """Run a command with the folder as its root, with /proc and nothing else of this machine."""
    script = 'mkdir -p "$0/proc"; mount -t proc none "$0/proc"; exec env -i "$(command -v chroot)" "$0" "$@"'
    words = ["unshare", "--mount", "--pid", "--fork", "sh", "-ec", script, os.fspath(root), *command]
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)
    if done.returncode:
        raise AssertionError(f"{root.name}: {' '.join(command)}: exit status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def libc_of(root: Path) -> str:
    """The version of a root's C library, from its own words."""
    found = sorted(root.glob("lib/*-linux-gnu/libc.so.6")) + sorted(root.glob("usr/lib/*-linux-gnu/libc.so.6"))
    said = re.search(rb"GNU C Library [^\n]*version ([0-9.]*[0-9])", found[0].read_bytes()) if found else None
    return said.group(1).decode() if said else "unknown"


def main(words: list[str]) -> int:
    """Try every release; the exit status is 0 when at least two C libraries ran it and none failed."""
    if os.geteuid() != 0:
        print("foreign_roots: needs root, to make root file systems and to change into them")
        return 1
    if not shutil.which("debootstrap"):
        subprocess.run(["apt-get", "install", "-qq", "-y", "debootstrap"], check=True, stdout=subprocess.DEVNULL)
    executable = Path(words[0])
    model = Path(words[1]) if len(words) > 1 else weights.fetch("smollm2")
    answers, versions, failures = set(), set(), 0
    for release in RELEASES:
        try:
            root = root_of(release)
            answer = try_in(root, executable, model)
        except Unavailable as problem:
            print(f"{release:10} cannot be had: {str(problem).split(' http')[0]}")
        except AssertionError as problem:
            failures += 1
            print(f"{release:10} FAILED: {problem}")
        else:
            answers.add(answer)
            versions.add(libc_of(root))
            print(f"{release:10} glibc {libc_of(root)}: {answer!r}")
    print(f"{len(versions)} C libraries, {len(answers)} different answers, {failures} failures")
    return 0 if len(versions) >= 2 and len(answers) == 1 and not failures else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
