"""A model file with one wrong number runs or is refused in one line; nothing crashes and nothing shows a traceback."""

from __future__ import annotations

import dataclasses
import json
import resource
import subprocess
import sys

import pytest

from tests.engine import damaged
from tests.oracles import tiny, tiny_gguf

MEMORY = 4 << 30  # bytes a file may make us ask for


@pytest.mark.parametrize("name", ["mixtral", "gemma3", "qwen2-yarn"])
def test_one_wrong_number(tmp_path, name):
    short = dataclasses.replace(tiny.MODELS[name], layers=2)
    path = tiny_gguf.write(short, tmp_path / "whole.gguf", "Q4_0")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "faulthandler", "-m", damaged.__name__, str(path),
         str(tmp_path / "changed.gguf")],
        capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)))
    assert done.returncode == 0, done.stderr[-3000:]
    ends = json.loads(done.stdout)
    assert not ends["surprises"], "\n".join(ends["surprises"])
    assert ends["ends"]["refused"] > ends["ends"]["runs"] > 0
