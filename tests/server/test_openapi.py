"""schemathesis reads our own /openapi.json and asks what it says: no 5xx but 501 and 503, no hang."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.models

CHECKS = ("not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
          "response_schema_conformance")
CONFIGURATION = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "4xx", 501, 503]
"""


def fuzz(server, folder: Path, examples: int, seconds: int, phases: str) -> subprocess.CompletedProcess[str]:
    """Let schemathesis ask; every answer is bounded to two tokens by the server's -n."""
    (folder / "schemathesis.toml").write_text(CONFIGURATION)
    program = Path(sys.executable).parent / "schemathesis"
    command = [str(program), "run", server.url + "/openapi.json", "--checks", CHECKS, "--max-examples", str(examples),
               "--phases", phases, "--request-timeout", "60", "--seed", "7", "--mode", "all",
               "--generation-database", "none"]
    environment = {key: value for key, value in os.environ.items() if key not in ("NO_PROXY", "http_proxy")}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=seconds, env=environment)


@pytest.fixture(scope="module")
def bounded(start, tinycoder):
    return start(tinycoder, "-c", "256", "-n", "2", "--metrics", "--props")


def test_our_own_document(bounded, tmp_path):
    done = fuzz(bounded, tmp_path, 10, 300, "fuzzing")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert bounded.get("/health").status_code == 200


@pytest.mark.long
def test_our_own_document_at_length(bounded, tmp_path):
    done = fuzz(bounded, tmp_path, 200, 3000, "coverage,fuzzing")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert bounded.get("/health").status_code == 200


def test_it_is_openapi(bounded):
    found = json.loads(bounded.get("/openapi.json").text)
    assert found["openapi"].startswith("3.1") and found["paths"]["/v1/chat/completions"]["post"]["requestBody"]
