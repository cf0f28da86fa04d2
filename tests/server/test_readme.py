"""The README's curl lines, as they stand there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from .running import ROOT

pytestmark = pytest.mark.models


def lines():
    """Every curl command, with the lines that it goes on over."""
    found = []
    for line in (ROOT / "README.md").read_text().splitlines():
        if line.startswith("    curl "):
            found.append(line.strip())
        elif found and line.startswith("      ") and found[-1].count("'") % 2:
            found[-1] += " " + line.strip()
    return found


@pytest.mark.parametrize("line", lines())
def test_it_runs(everywhere, line):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    command = line.replace("http://127.0.0.1:8080", everywhere.url).replace("curl ", "curl -sS --fail-with-body ", 1)
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stderr == "", done.stdout + done.stderr
    if "-N" in line:
        assert done.stdout.endswith("data: [DONE]\n\n") and '"content":"' in done.stdout
        return
    found = json.loads(done.stdout)
    assert "error" not in found
    if "json_schema" in line:
        assert set(json.loads(found["choices"][0]["message"]["content"])) == {"city"}


def test_every_endpoint_that_it_names_is_there(server):
    text = (ROOT / "README.md").read_text()
    paths = json.loads(server.get("/openapi.json").text)["paths"]
    named = set(re.findall(r"`(/[a-z0-9/_-]+)`", text.partition("`/openapi.json` describes")[2].partition("\n\n")[0]))
    assert len(named) >= 14 and named <= set(paths)
