"""The broker: what was named or typed it opens, nothing else; it ends with its client and leaves nothing behind."""

from __future__ import annotations

import json
import os
import pty
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llamafile.errors import LlamafileError
from llamafile.sandbox import files
from llamafile.sandbox.broker import Broker
from llamafile.sandbox.typed import Typed

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path):
    """Slots with a file, a folder below, links that lead out, a pipe; and a file beside it."""
    slots = tmp_path / "slots"
    (slots / "below").mkdir(parents=True)
    (slots / "one").write_text("first")
    (slots / "below" / "deep").write_text("deep")
    (slots / "out").symlink_to("/etc/passwd")
    (slots / "up").symlink_to("..")
    os.mkfifo(slots / "pipe")
    (tmp_path / "beside").write_text("beside")
    return tmp_path


@pytest.fixture
def broker(folder):
    started = Broker.start(paths=[f"{folder}/cache"], folders={"slots": f"{folder}/slots"})
    yield started
    started.close()


def content(fd):
    with os.fdopen(fd, "rb") as file:
        return file.read()


def test_a_file_is_replaced_whole_or_not_at_all(broker, folder):
    cache = folder / "cache"
    with broker.replacing(str(cache)) as file:
        file.write(b"old")
        assert not cache.exists()
    with pytest.raises(ZeroDivisionError), broker.replacing(str(cache)) as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert cache.read_bytes() == content(broker.open(str(cache))) == b"old"
    with broker.replacing_in("slots", "one") as file:
        file.write(b"second")
    assert content(broker.open_in("slots", "one")) == b"second"
    assert sorted(os.listdir(folder)) == ["beside", "cache", "slots"]
    assert sorted(os.listdir(folder / "slots")) == ["below", "one", "out", "pipe", "up"]


def test_names_in_folders(broker, folder):
    assert content(broker.open_in("slots", "below/deep")) == b"deep"
    os.close(broker.open_in("slots", "new", "w"))
    assert (folder / "slots" / "new").exists()
    for name, mode in [("../beside", "r"), ("..", "r"), (".", "r"), ("", "r"), ("/etc/passwd", "r"), ("out", "r"),
                       ("up/beside", "r"), ("below/../one", "r"), ("below//deep", "r"), ("below", "r"), ("pipe", "r"),
                       ("missing", "r"), ("../new", "w"), ("below/new", "w"), ("out", "w"), ("pipe", "w"),
                       ("x" * 300, "w"), ("x" * 70000, "r"), ("a\0b", "r"), ("one", "x"), ("one", "")]:
        with pytest.raises(LlamafileError) as wrong:
            broker.open_in("slots", name, mode)
        assert "\n" not in str(wrong.value)
    with pytest.raises(LlamafileError, match="there is no folder"):
        broker.open_in("other", "one")
    for name in ("../x", "", "..", "below/x"):
        with pytest.raises(LlamafileError):
            broker.replacing_in("slots", name)
    assert sorted(os.listdir(folder)) == ["beside", "slots"]


def test_paths_that_were_not_named(broker, folder):
    for path, mode in [("/etc/passwd", "r"), (f"{folder}/beside", "r"), (f"{folder}/cache2", "w"), (str(folder), "r"),
                       (f"{folder}/cache/../beside", "w")]:
        with pytest.raises(LlamafileError, match="as it was not typed here"):
            broker.open(path, mode)
    with pytest.raises(LlamafileError, match="as it was not typed here"):
        broker.replacing(f"{folder}/beside")
    with pytest.raises(LlamafileError, match="No such file"):
        broker.open(f"{folder}/cache")
    assert (folder / "beside").read_text() == "beside"


def test_hostile_messages(broker, folder):
    """Bytes that no client of ours sends are refused, and it goes on."""
    chance = random.Random(3)
    verbs = [b"open", b"open in", b"replace", b"replace in", b"keep", b"drop", b"complete", b"read", b"", b"serve"]
    words = [b"", b"/etc/passwd", b"slots", b"one", b"..", b"r", b"w", b"1", b"nan", b"-1", b"\xff", b"x" * 5000]
    messages = [b"\xff\0\0\0nothing\0of\0the\0kind", b"x", b"1\0", *(
        b"\0".join((b"0", chance.choice(verbs), *chance.choices(words, k=chance.randrange(5)))) for _ in range(500))]
    for message in messages:
        broker._socket.send(message)
        answer = broker._receive()
        for fd in answer.fds:
            assert os.readlink(f"/proc/self/fd/{fd}").startswith(f"{folder}/slots/")
            os.close(fd)
    assert content(broker.open_in("slots", "below/deep")) == b"deep"


def test_no_descriptor_stays(broker):
    with pytest.raises(LlamafileError):
        broker.open_in("slots", "none")  # it has let go of what it inherited
    before = len(os.listdir("/proc/self/fd"))
    theirs = len(os.listdir(f"/proc/{broker.process}/fd"))
    for _ in range(200):
        os.close(broker.open_in("slots", "one"))
        with broker.replacing_in("slots", "two") as file:
            file.write(b"x")
        with pytest.raises(LlamafileError):
            broker.open_in("slots", "pipe")
        with pytest.raises(LlamafileError):
            broker.open_in("slots", "below/none")
    assert len(os.listdir("/proc/self/fd")) <= before  # fewer where something older was collected meanwhile
    assert len(os.listdir(f"/proc/{broker.process}/fd")) == theirs <= 6


def test_it_holds_nothing_and_is_bound_itself(folder):
    here, there = os.pipe()
    broker = Broker.start(folders={"slots": f"{folder}/slots"})
    os.close(there)
    assert os.read(here, 1) == b""  # nobody else has the other end
    os.close(here)
    os.close(broker.open_in("slots", "one"))
    lines = Path(f"/proc/{broker.process}/status").read_text().splitlines()
    fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert (fields["Seccomp"], fields["NoNewPrivs"]) == ("2", "1")
    broker.close()
    assert not Path(f"/proc/{broker.process}").exists()


def test_ctrl_c_is_not_for_it(broker):
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH):
        os.kill(broker.process, number)
    time.sleep(0.1)
    assert content(broker.open_in("slots", "one")) == b"first"


def test_it_ends_when_its_client_is_killed(folder):
    code = ("import sys, time; from llamafile.sandbox.broker import Broker; import os\n"
            f"b = Broker.start(folders={{'slots': {str(folder / 'slots')!r}}}, paths=[{str(folder / 'cache')!r}])\n"
            f"r = b.replacing({str(folder / 'cache')!r}); print(b.process, flush=True); time.sleep(60)")
    client = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT, text=True)
    process = int(client.stdout.readline())
    assert len(list(folder.glob("cache.*.part"))) == 1
    client.kill()
    client.communicate()
    deadline = time.monotonic() + 120
    while Path(f"/proc/{process}").exists() and "Z" not in Path(f"/proc/{process}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not list(folder.glob("cache.*"))  # what was half written is taken away


def test_when_it_was_killed(broker):
    os.kill(broker.process, signal.SIGKILL)
    with pytest.raises(LlamafileError, match="the process that opens files has ended"):
        broker.open_in("slots", "one")


def test_folders_that_are_not_there(tmp_path):
    with pytest.raises(LlamafileError, match="name a folder that is there"):
        Broker.start(folders={"slots": f"{tmp_path}/none"})


def test_files_by_path_find_their_folder(folder):
    files.start(folders={"slots": f"{folder}/slots"})
    try:
        with files.replacing(f"{folder}/slots/three") as file:
            file.write(b"3")
        with files.reading(f"{folder}/slots/three") as file:
            assert file.read() == b"3"
        with pytest.raises(LlamafileError):
            files.reading(f"{folder}/beside")
    finally:
        files.close()
    with files.replacing(f"{folder}/beside") as file:  # without a broker it is done here
        file.write(b"new")
    with pytest.raises(ZeroDivisionError), files.replacing(f"{folder}/beside") as file:
        raise ZeroDivisionError
    assert (folder / "beside").read_text() == "new" and sorted(os.listdir(folder)) == ["beside", "slots"]


# The witness.

def typed(keys: str) -> Typed:
    """A record of these keys, read as a terminal gives them."""
    witness, (there, here), before = Typed(), os.pipe(), os.dup(0)
    os.dup2(there, 0)
    try:
        os.write(here, keys.encode())
        os.close(here)
        for _ in keys:
            witness.read(3, 1.0, before)
        assert witness.read(3, 1.0, before) == b""
    finally:
        os.dup2(before, 0)
        os.close(before)
        os.close(there)
    return witness


READS = ("/upload", "/load")


@pytest.mark.parametrize(("keys", "path", "known"), [
    ("/upload notes.txt\r", "notes.txt", True),
    ("/upload notes.txt", "notes.txt", True),
    ("/load notes.txt", "notes.txt", True),
    ("notes.txt", "notes.txt", False),
    ("/save notes.txt\n", "notes.txt", False),
    ("read /upload notes.txt\n", "notes.txt", False),
    ("/uploads notes.txt\n", "notes.txt", False),
    ("/upload x\nnotes.txt\n", "notes.txt", False),
    ("/up\tnotes.txt\n", "notes.txt", True),
    ("/sa\tnotes.txt\n", "notes.txt", False),
    ("\tnotes.txt\n", "notes.txt", False),
    ('/load "my notes.txt"\n', "my notes.txt", True),
    ("/load my\\ notes.txt\n", "my notes.txt", True),
    ("/upload ~/a/b\n", "~/a/b", True),
    ("/upload größe.txt\n", "größe.txt", True),
    ("/upload notes.txt\n", "notes", False),
    ("/upload notes.txt\n", "otes.txt", False),
    ("/upload notes.txt\n", "/etc/passwd", False),
    ("/upload notes.txt\n", "", False),
    ("look at /etc/passwd.old\n", "/etc/passwd", False),
    ("/etc/\npasswd\n", "/etc/passwd", False),
    ("/upload nodes\x7f\x7f\x7ftes\n", "notes", True),
    ("/upload nodes\x7f\x7f\x7ftes\n", "nodes", False),
    ("/upload grö\x7f\x7fo\n", "go", True),
    ("\x7f\x7f\x7f/load x\n", "x", True),
    ("secret\x15/upload a\n", "secret", False),
    ("/upload a secret \x17public\n", "secret", False),
    ("/upload a secret \x17public\n", "public", True),
    ("/upload a\x1b[Db\x1bOA\n", "ab", True),
    ("/upload a\x1b[1;5Db\n", "ab", True),
])
def test_what_counts_as_typed(keys, path, known):
    assert typed(keys).has(path, READS) is known


def test_completion_needs_the_key():
    assert not typed("/upload ~/Do").may_complete("~/Do")
    witness = typed("/upload ~/Do\t")
    assert not witness.may_complete("/") and not witness.may_complete("") and not witness.may_complete("Do")
    assert witness.may_complete("~/Do") and not witness.may_complete("~/Do")
    witness.complete("cuments/")
    assert witness.has("~/Documents/", READS) and not witness.has("~/Documents", READS)
    assert not typed("x\t\n/").may_complete("/")


CLIENT = """
import json, os, select, sys
from llamafile import sandbox
from llamafile.errors import LlamafileError
class Options: unsecure = False
sandbox.preload("chat")
broker = sandbox.files.start(keyboard=True, endings=[".cache"])
assert sandbox.close_door("chat", Options)
print("ready", flush=True)
def told(act):
    try:
        return act()
    except LlamafileError as wrong:
        return str(wrong)
while True:
    line = b""
    while not line.endswith(b"\\n"):
        data = broker.read()
        if not data:
            sys.exit(0)
        line += data
    word, path = line.decode().rstrip("\\n").split(" ", 1)
    if word == "/upload":
        answer = told(lambda: os.read(broker.open(path), 1000).decode())
    elif word == "/late":
        answer = broker.read(10, 0.05) is None
    elif word == "/load" and path.startswith("~"):
        answer = told(lambda: os.read(broker.open(os.path.expanduser(path)), 1000).decode())
    elif word == "/load":
        answer = told(lambda: os.read(broker.open(path + ".cache"), 1000).decode())
    elif word == "/waits":
        broker.want()
        select.select([broker], [], [])
        answer = broker.take().decode()
    elif word == "/steal":
        answer = told(lambda: broker.open("/etc/" + path))
    elif word == "/spoil":
        answer = told(lambda: broker.replacing(path))
    elif word == "/save":
        def save():
            with broker.replacing(path) as file:
                file.write(b"saved")
            return "saved"
        answer = told(save)
    print(json.dumps(answer), flush=True)
"""


def client(**more):
    return subprocess.Popen([sys.executable, "-c", CLIENT], stdout=subprocess.PIPE, text=True, cwd=ROOT, **more)


def test_what_is_typed_is_opened_behind_the_door(folder):
    process = client(stdin=subprocess.PIPE, env={**os.environ, "HOME": str(folder)})

    def ask(line):
        process.stdin.write(line + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    assert process.stdout.readline() == "ready\n"
    assert ask(f"/upload {folder}/beside") == "beside"
    assert ask("/late x") is True
    assert ask("/load ~/beside") == "beside"
    (folder / "beside.cache").write_text("cells")
    assert ask(f"/load {folder}/beside") == "cells"
    os.mkfifo(folder / "pipe")
    assert ask(f"/upload {folder}/pipe") == ""
    process.stdin.write("/waits x\n")
    process.stdin.flush()
    time.sleep(0.1)
    assert ask("something") == "something\n"
    assert ask(f"/spoil {folder}/beside").endswith("may not be opened for writing, as it was not typed here")
    assert ask("/steal passwd") == "/etc/passwd: may not be opened for reading, as it was not typed here"
    assert ask(f"/save {folder}/answer") == "saved" and (folder / "answer").read_text() == "saved"
    assert ask(f"/upload {folder}/slots") == f"{folder}/slots: is a folder; give a file"
    assert ask(f"/upload {folder}/none").endswith("No such file or directory; give another")
    out, _ = process.communicate()
    assert (process.returncode, out) == (0, "")


@pytest.mark.parametrize(("key", "granted"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_what_was_not_typed_is_asked_about_on_a_terminal(key, granted):
    ours, theirs = pty.openpty()
    process = client(stdin=theirs, start_new_session=True)
    os.close(theirs)
    assert process.stdout.readline() == "ready\n"
    os.write(ours, b"/steal passwd\n")
    seen = b""
    while b"[y/N] " not in seen:
        seen += os.read(ours, 1000)
    assert b"llamafile: open /etc/passwd for reading? [y/N] " in seen
    os.write(ours, key.encode())
    answer = json.loads(process.stdout.readline())
    assert isinstance(answer, int) is granted
    process.kill()
    process.communicate()
    os.close(ours)
