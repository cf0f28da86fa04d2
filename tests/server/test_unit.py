"""--print-unit: systemd itself reads what is printed, and the words come through as they were given."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from llamafile import unit

ROOT = Path(__file__).resolve().parents[2]


def printed(*words, folder):
    command = [sys.executable, "-m", "llamafile", *words, "--print-unit"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def fields(text):
    return dict(line.split("=", 1) for line in text.splitlines() if re.match(r"[A-Za-z]+=", line))


def split(command):
    """The words of an Exec line as systemd.service(5) and systemd.syntax(7) have them: an oracle of its own."""
    words, at = [], 0
    while at < len(command):
        if command[at] == " ":
            at += 1
            continue
        word, quote = "", ""
        if command[at] in "\"'":
            quote, at = command[at], at + 1
        while at < len(command) and (command[at] != quote if quote else command[at] != " "):
            if command[at] == "\\":
                word += {"n": "\n", "t": "\t"}.get(command[at + 1], command[at + 1])
                at += 2
            elif command[at : at + 2] in ("%%", "$$"):
                word += command[at]
                at += 2
            else:
                assert command[at] not in "%$"
                word += command[at]
                at += 1
        words.append(word)
        at += 1
    return words


@pytest.mark.parametrize("word", ["plain", "two words", '100% $ure', 'a "b" c', "it's", "back\\slash", "", ";", "größe",
                                  "line\nbreak", "tab\there", "$HOME", "%h", "--flag=x y"])
def test_words_come_through(word):
    assert split(unit.quoted(word)) == [word]


def test_the_command_as_given(tmp_path):
    words = ["--server", "-m", "my model.gguf", "--api-key", '5% "off"', "--port", "8123", "--drain-seconds", "7"]
    found = fields(printed(*words, folder=tmp_path))
    assert split(found["ExecStart"]) == [sys.executable, "-m", "llamafile", *words, "--nobrowser"]
    assert found["WorkingDirectory"] == str(tmp_path) and found["TimeoutStopSec"] == "17"
    assert found["Type"] == "notify" and found["CapabilityBoundingSet"] == "" and found["PrivateTmp"] == "no"
    hidden = sys.executable.startswith(("/tmp/", "/var/tmp/"))  # where a checkout may lie
    assert fields(printed("-m", "x", folder="/"))["PrivateTmp"] == ("no" if hidden else "yes")
    assert split(fields(printed("-m", "x", folder="/"))["ExecStart"])[3] == "--server"


def test_flags_that_need_something(tmp_path):
    found = fields(printed("--slot-save-path", "slots", "--mlock", "--port", "80", folder=tmp_path))
    assert found["ReadWritePaths"] == f"{tmp_path}/slots" and found["LimitMEMLOCK"] == "infinity"
    assert found["CapabilityBoundingSet"] == found["AmbientCapabilities"] == "CAP_NET_BIND_SERVICE"
    assert fields(printed("--host", "run/s.sock", folder=tmp_path))["ReadWritePaths"] == f"{tmp_path}/run"


def test_whose_service_it_is(tmp_path):
    model = tmp_path / "model.gguf"
    model.write_bytes(b"")
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    model.chmod(0o600)
    assert unit._user(["program", str(model)], str(tmp_path)).startswith("User=")
    model.chmod(0o644)
    if unit._everybody_may_read(str(tmp_path)):
        assert unit._user(["program", str(model)], str(tmp_path)) == "DynamicUser=yes"
    tmp_path.chmod(0o700)
    assert unit._user(["program", str(model)], "/").startswith("User=")


# A service manager of one's own: `systemd --user` asks for nothing but a /run that looks as if systemd had booted.
MANAGER = """
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system /run/user/0/systemd/user && chmod 700 /run/user/0
export XDG_RUNTIME_DIR=/run/user/0
"$1" --user --log-target=null & manager=$!
for _ in $(seq 600); do systemctl --user is-system-running 2>/dev/null | grep -qx running && break; sleep 0.1; done
cp "$2" /run/user/0/systemd/user/llamafile.service
systemctl --user start llamafile.service || systemctl --user --no-pager status llamafile.service
systemctl --user show llamafile.service -p ActiveState,SubState
curl -s "$3/health"; echo
grep -E '^(Seccomp|NoNewPrivs):' /proc/$(systemctl --user show llamafile.service -p MainPID --value)/status
systemctl --user stop llamafile.service
systemctl --user show llamafile.service -p ActiveState,Result,ExecMainStatus
kill $manager; wait $manager
"""
SYSTEMD = next((path for path in ("/lib/systemd/systemd", "/usr/lib/systemd/systemd") if os.path.exists(path)), None)
# A user's manager gives out no other users and no capabilities; kernels that are built small have nothing to hide.
NOT_HERE = r"(?m)^(DynamicUser|User|CapabilityBoundingSet|AmbientCapabilities|ProtectKernel(Logs|Tunables))=.*\n"


@pytest.mark.models
@pytest.mark.skipif(not SYSTEMD or os.geteuid() != 0, reason="needs systemd, and root for a /run of its own")
def test_systemd_runs_it(tinycoder, tmp_path):
    """From start to stop: systemctl returns when READY=1 has come, and again when the server has ended by itself."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = tmp_path / "llamafile.service"
    path.write_text(re.sub(NOT_HERE, "", printed("-m", tinycoder, "--port", str(port), folder=tmp_path)))
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-uc", MANAGER, "sh", SYSTEMD, str(path)]
    done = subprocess.run([*command, f"http://127.0.0.1:{port}"], capture_output=True, text=True, timeout=300)
    if "Operation not permitted" in done.stderr or "permission denied" in done.stderr:
        pytest.skip("nothing can be mounted here")
    said = done.stdout.split()
    assert sorted(said[:2]) == ["ActiveState=active", "SubState=running"], done
    assert said[2] == '{"status":"ok"}' and said[3:7] == ["NoNewPrivs:", "1", "Seccomp:", "2"], done
    assert sorted(said[7:]) == ["ActiveState=inactive", "ExecMainStatus=0", "Result=success"], done


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not here")
def test_systemd_understands_it(tmp_path):
    path = tmp_path / "llamafile.service"
    path.write_text(printed("-m", "a model.gguf", "--api-key", "100%", folder=tmp_path))
    done = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True)
    assert "llamafile.service" not in done.stderr, done.stderr
    done = subprocess.run(["systemd-analyze", "security", "--offline=yes", str(path)], capture_output=True, text=True)
    exposure = re.search(r"Overall exposure level for llamafile\.service: ([\d.]+)", done.stdout)
    assert exposure and float(exposure[1]) < 3, done.stdout
