"""The executable as services run it: a root that cannot be written to, a /tmp without execution, nobody's rights."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest

from .built import run

pytestmark = [pytest.mark.built, pytest.mark.models,
              pytest.mark.skipif(os.geteuid() != 0, reason="needs root to change what is mounted")]

# Everything read-only but a /tmp without execution; /proc is its own. Then as a user who owns nothing.
CONFINED = """
mount --make-rprivate / && mount -o bind / / && mount -o remount,bind,ro /
mount -t tmpfs -o noexec,nosuid,nodev,mode=1777 tmpfs /tmp && mount -t tmpfs -o noexec,nosuid tmpfs /dev/shm || true
cp "$MODEL" /tmp/model.gguf && chmod 644 /tmp/model.gguf
touch /usr/written 2>/dev/null && exit 99
exec setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs "$@"
"""


@pytest.fixture(scope="module")
def program(engine):
    """The executable where anybody may run it."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        target = shutil.copy(engine, folder)
        for path in (folder, target):
            os.chmod(path, 0o755)
        yield target


@pytest.fixture
def confined(program, smollm2):
    """A function that starts the program with some words, confined."""
    started = []

    def start(*words):
        if run("unshare", "--mount", "--pid", "--fork", "true").returncode:
            pytest.skip("unshare is not allowed here")
        command = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-ec", CONFINED, "sh",
                   program, *words]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True, env={"MODEL": smollm2, "PATH": os.environ["PATH"]})
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_one_answer(confined):
    process = confined("-m", "/tmp/model.gguf", "-p", "The capital of France is", "-n", "8", "--temp", "0", "-v")
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "Paris" in out and "sandbox: active: seccomp (cli) in all threads" in errors


def test_a_server_that_tells_its_manager(confined, tmp_path):
    """Type=notify: READY=1 when requests are answered, STOPPING=1 at SIGTERM, which ends it with status 0."""
    pytest.importorskip("llamafile.server")
    code = ("import json, sys, urllib.request as u\n"
            "r = u.Request(sys.argv[1] + '/completion', json.dumps({'prompt': 'The sea', 'n_predict': 4}).encode())\n"
            "print(len(json.load(u.urlopen(r))['content']))")
    process = confined("--server", "-m", "/tmp/model.gguf", "--port", "0", "--nobrowser", "-v")
    lines = []
    for line in process.stderr:
        lines.append(line)
        if " is served at " in line:
            break
    assert any("sandbox: active: seccomp (server)" in line for line in lines), lines
    url = lines[-1].split()[-1]
    done = run(sys.executable, "-c", code, url)
    assert done.returncode == 0 and int(done.stdout) > 0, done.stderr
    children = run("pgrep", "-P", str(process.pid)).stdout.split()
    assert len(children) == 1
    os.kill(int(children[0]), signal.SIGTERM)
    deadline = time.monotonic() + 120
    while process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert process.returncode == 0, process.stderr.read()
