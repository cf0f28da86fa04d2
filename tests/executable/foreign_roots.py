"""Runs a built executable inside root file systems of other distribution releases, which have no Python.

`python -m tests.executable.foreign_roots EXECUTABLE [MODEL]`: needs root, and debootstrap, which is installed where it
is missing. Each root is made once in a cache folder. The program writes, then serves: health, an answer, a stream, the
page, an answer of a JSON schema, and all of that by TLS. Prints one line a root, with its C library's version.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
from pathlib import Path

import httpx

from llamafile.freeze.sources import debian_mirror
from tests import weights
from tests.server.running import Running, events

CACHE = Path(os.environ.get("LLAMAFILE_TEST_CACHE") or Path.home() / ".cache" / "llamafile-weights") / "roots"
RELEASES = ("buster", "bullseye", "bookworm", "trixie", "sid")
# debootstrap makes a link of /proc where it may not mount it.
INTO_ROOT = """
test ! -h "$0/proc" || rm "$0/proc"
mkdir -p "$0/proc"
test -n "$WITHOUT_PROC" || mount -t proc none "$0/proc"
exec env -i "$(command -v chroot)" "$0" "$@"
"""
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
    """Copy the executable and the model in, run all ways, and return what it wrote."""
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
    _refused_without_proc(root)
    certificate(place)
    secure = ("--ssl-key-file", "/opt/key.pem", "--ssl-cert-file", "/opt/cert.pem")
    said = {serve_in(root), serve_in(root, *secure, verify=ssl.create_default_context(cafile=place / "cert.pem"))}
    assert len(said) == 1, said
    return f"{answer.strip()} / {said.pop()}"


def _refused_without_proc(root: Path) -> None:
    """The server loads native modules through /proc: without one it says so and ends."""
    words = _into(root, "/opt/llamafile", "--server", "--port", "0", "-m", "/opt/model.gguf")
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "WITHOUT_PROC": "1"}, timeout=60)
    assert done.returncode == 1 and done.stderr.endswith("/proc, which is not mounted; mount it\n"), done.stderr


def certificate(folder: Path) -> None:
    """Make a key and a certificate that it has signed itself."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)


def serve_in(root: Path, *words: str, verify: ssl.SSLContext | bool = True) -> str:
    """Run the server in a root, ask it from outside, end it, and return what it answered."""
    server = Running("/opt/model.gguf", "--temp", "0", *words, program=tuple(_into(root, "/opt/llamafile")))
    try:
        with httpx.Client(base_url=server.url, verify=verify, timeout=120) as client:
            assert client.get("/health").json() == {"status": "ok"}
            assert "<title>" in client.get("/").text
            chat = {"messages": [{"role": "user", "content": "Name a colour."}], "max_tokens": 8, "seed": 1}
            whole = client.post("/v1/chat/completions", json=chat).json()["choices"][0]["message"]["content"]
            with client.stream("POST", "/v1/chat/completions", json={**chat, "stream": True}) as response:
                parts = [json.loads(data)["choices"] for _, data in events(response) if data != "[DONE]"]
            assert "".join(each[0]["delta"].get("content") or "" for each in parts if each) == whole != "", parts
            shaped = {"prompt": "x", "json_schema": {"enum": ["yes", "no"]}, "n_predict": 9}
            assert json.loads(client.post("/completion", json=shaped).json()["content"]) in ("yes", "no")
    finally:
        with open(f"/proc/{server.process.pid}/task/{server.process.pid}/children") as file:
            os.kill(int(file.read()), signal.SIGTERM)
        assert server.process.wait(60) == 0, server.text
    return whole


def _into(root: Path, *command: str) -> list[str]:
    """A command with the folder as its root, with /proc and nothing else of this machine but its network."""
    return ["unshare", "--mount", "--pid", "--fork", "sh", "-ec", INTO_ROOT, os.fspath(root), *command]


def _inside(root: Path, *command: str) -> str:
    words = _into(root, *command)
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
