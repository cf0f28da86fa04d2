"""One seed, one text: the chat, the HTTP interface, one answer on the command line and a question through a pipe."""

from __future__ import annotations

import json
import os
import re
import subprocess
from urllib.request import Request, urlopen

import pytest

pytestmark = [pytest.mark.built, pytest.mark.models]

SYSTEM, FIRST, SECOND = "You are a helpful AI assistant.", "Tell me something about the sea.", "And about ships?"
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith(("LLAMA_", "PYTHON"))}


@pytest.fixture(params=[0.0, 0.8])
def settings(request, smollm2):
    """The flags that all of them have, and the same as fields of a request."""
    words = ["-m", smollm2, "-s", "7", "--temp", str(request.param), "-n", "40", "-sys", SYSTEM]
    return words, {"seed": 7, "temperature": request.param, "max_tokens": 40}


def run(engine, *words, typed=None, cwd=None):
    done = subprocess.run([str(engine), *words], input=typed, stdin=None if typed is not None else subprocess.DEVNULL,
                          capture_output=True, text=True, env=ENVIRONMENT, timeout=300, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def chatted(engine, words, folder):
    """The messages of a chat of two turns, saved by the chat itself."""
    typed = f"{FIRST}\n{SECOND}\n/save talk.json\n"
    shown = run(engine, "--chat", *words, typed=typed, cwd=folder)
    messages = json.loads((folder / "talk.json").read_text())["messages"]
    assert shown == f"{messages[2]['content']}\n{messages[4]['content']}\n"
    return messages


def served(engine, words, requests):
    """What a server answers to requests, one after the other."""
    with subprocess.Popen([str(engine), "--server", "--port", "0", *words], stderr=subprocess.PIPE, text=True,
                          stdin=subprocess.DEVNULL, env=ENVIRONMENT) as server:
        try:
            for line in server.stderr:
                if found := re.search(r"served at (http\S+)", line):
                    return [_answer(found[1], body) for body in requests]
            raise AssertionError("the server never said where it is")
        finally:
            server.terminate()


def _answer(address, body):
    request = Request(f"{address.rstrip('/')}/v1/chat/completions", json.dumps(body).encode(),
                      {"Content-Type": "application/json"})
    with urlopen(request, timeout=300) as reply:
        return json.load(reply)["choices"][0]["message"]["content"]


def test_same_text_everywhere(engine, settings, tmp_path):
    words, fields = settings
    messages = chatted(engine, words, tmp_path)
    first, second = messages[2]["content"], messages[4]["content"]
    assert len(first.split()) > 5 and first != second
    assert run(engine, "-cnv", "-st", *words, "-p", FIRST) == first + "\n"
    assert run(engine, *words, typed=FIRST) == first + "\n"
    asked = [{**fields, "messages": messages[:2]}, {**fields, "messages": messages[:4]}]
    assert served(engine, words, asked) == [first, second]
