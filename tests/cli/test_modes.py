"""Which mode a command line means, by what the standard input is."""

from __future__ import annotations

import os
import pty
import shlex
import socket

import pytest

from llamafile import modes
from llamafile.arguments import read


@pytest.fixture(params=["terminal", "pipe", "file", "null", "socket"])
def kind(request, tmp_path):
    """The standard input's kind, while it is one."""
    before, held = os.dup(0), []
    if request.param == "terminal":
        held = list(pty.openpty())
    elif request.param == "pipe":
        held = list(os.pipe())[::-1]
    elif request.param == "socket":
        held = [end.detach() for end in socket.socketpair()]
    else:
        path = os.devnull if request.param == "null" else tmp_path / "file"
        held = [os.open(path, os.O_RDONLY | os.O_CREAT)]
    os.dup2(held[-1], 0)
    yield request.param
    os.dup2(before, 0)
    for fd in (before, *held):
        os.close(fd)


def chosen(line):
    return modes.choose(read(shlex.split(line), environment={}))


def test_without_a_word_about_it(kind):
    expected = {"terminal": modes.COMBINED, "pipe": modes.PIPED, "file": modes.PIPED, "null": modes.SERVER,
                "socket": modes.SERVER}
    for line in ("", "-m x.gguf -ngl 99 -c 100 --temp 0", "-sys 'Be brief.'", "--port 9000 --nobrowser"):
        assert chosen(line) == expected[kind]


@pytest.mark.parametrize(("line", "mode"), [
    ("--chat", modes.CHAT), ("--chat -p 'You are a pirate.'", modes.CHAT), ("--server", modes.SERVER),
    ("--server -p x", modes.SERVER), ("--cli", modes.ANSWER), ("-p x", modes.ANSWER), ("-f x", modes.ANSWER),
    ("-cnv", modes.ANSWER), ("-i", modes.ANSWER), ("-bf x", modes.ANSWER), ("-cml", modes.ANSWER),
])
def test_named(kind, line, mode):
    assert chosen(line) == mode
