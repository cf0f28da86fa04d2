"""The server behind its door, from the sources and as the built executable: everything that it offers works."""

from __future__ import annotations

import os
import ssl
import subprocess
from pathlib import Path

import pytest

from tests.executable import built

pytest.importorskip("llamafile.server")

import httpx

from llamafile.server.app import PATHS
from tests.sandbox.test_door import of_this_process, status
from tests.server.running import PATIENCE, SOURCES, Running, events

pytestmark = pytest.mark.models

MESSAGES = [{"role": "user", "content": "What is the capital of France?"}]
CHAT = {"messages": MESSAGES, "max_tokens": 6, "temperature": 0}
SCHEMA = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 1, "maximum": 9}}, "required": ["age"]}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {
    "type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}}}
# A request for every path that takes a body; those without one are asked by GET.
BODIES = {
    "/tokenize": {"content": "größe"}, "/detokenize": {"tokens": [1, 2, 3]}, "/apply-template": {"messages": MESSAGES},
    "/completion": {"prompt": "The sea", "n_predict": 4}, "/completions": {"prompt": "The sea", "n_predict": 4},
    "/v1/completions": {"prompt": "The sea", "max_tokens": 4, "logprobs": 2},
    "/v1/chat/completions": CHAT, "/chat/completions": {**CHAT, "logprobs": True, "top_logprobs": 3},
    "/v1/chat/completions/input_tokens": CHAT, "/chat/completions/input_tokens": CHAT,
    "/v1/responses/input_tokens": {"input": "Hello"}, "/responses/input_tokens": {"input": "Hello"},
    "/v1/responses": {"input": "Hello", "max_output_tokens": 16},
    "/responses": {"input": "Hi", "max_output_tokens": 16},
    "/v1/messages": {"messages": MESSAGES, "max_tokens": 6}, "/v1/messages/count_tokens": {"messages": MESSAGES},
    "/embedding": {"content": "sea"}, "/embeddings": {"content": "sea"}, "/v1/embeddings": {"input": "sea"},
    "/infill": {"input_prefix": "def f(", "input_suffix": "):", "n_predict": 4},
    **{path: {"query": "sea", "documents": ["a", "b"]} for path in PATHS if "rerank" in path},
}
ABSENT = {"/infill", "/rerank", "/reranking", "/v1/rerank", "/v1/reranking", "/metrics", "/lora-adapters",
          "/v1/chat/completions/control"}  # what this model or start does not have is 501, or has nothing to say


@pytest.fixture(scope="module", params=["sources", pytest.param("executable", marks=pytest.mark.built)])
def program(request):
    return SOURCES if request.param == "sources" else (str(built.executable()),)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder for saved slots, and one with files to serve."""
    here = tmp_path_factory.mktemp("server")
    (here / "slots").mkdir()
    (here / "static" / "below").mkdir(parents=True)
    (here / "static" / "index.html").write_text("<p>ours</p>")
    (here / "static" / "below" / "note.txt").write_text("a note")
    return here


@pytest.fixture(scope="module")
def server(program, smollm2, folder):
    running = Running(smollm2, "-v", "-c", "2048", "--temp", "0", "--slot-save-path", str(folder / "slots"), "-t", "2",
                      program=program)
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.text, running.text


def test_every_thread_and_the_broker_are_bound(server):
    assert "sandbox: active: seccomp (server) in all threads" in server.text
    ours = int(of_this_process()["Seccomp_filters"])
    threads = status(server.process)
    assert len(threads) >= 3
    assert {(fields["Seccomp"], int(fields["Seccomp_filters"])) for fields in threads} == {("2", ours + 1)}
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    assert len(children) == 1  # the broker
    assert "Seccomp:\t2" in Path(f"/proc/{children[0]}/status").read_text()


def test_every_path(server):
    for path in PATHS:
        if "*" in path:
            continue
        found = server.post(path, BODIES[path]) if path in BODIES else server.get(path)
        absent = path in ABSENT and found.status_code in (200, 400, 405, 501)
        assert found.status_code == 200 or absent, (path, found.status_code, found.text[:200])


def test_streams(server):
    for path in ("/v1/chat/completions", "/completion", "/v1/completions", "/v1/responses", "/v1/messages"):
        body = {**BODIES[path], "stream": True}
        with httpx.stream("POST", server.url + path, json=body, timeout=PATIENCE) as response:
            assert response.status_code == 200 and len(events(response)) > 3, path


def test_constraints_and_tools(server):
    grammar = server.post("/completion", {"prompt": "Is it?", "n_predict": 8, "grammar": 'root ::= "yes" | "no"'})
    assert grammar.json()["content"] in ("yes", "no")
    for body in ({"response_format": {"type": "json_object"}}, {"json_schema": SCHEMA},
                 {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}},
                 {"tools": [TOOL], "tool_choice": "required"}, {"tools": [TOOL]}):
        found = server.post("/v1/chat/completions", {**CHAT, "max_tokens": 60, **body})
        assert found.status_code == 200, (body, found.text)
    for bad in ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "nothing"}}}},
                {"chat_template_kwargs": {"x": 1}, "messages": [{"role": "no such role", "content": []}]}):
        assert server.post("/v1/chat/completions", {**CHAT, **bad}).status_code in (200, 400)


def test_slots_are_kept_in_the_folder_and_nowhere_else(server, folder):
    assert server.post("/completion", {"prompt": "Once upon a time", "n_predict": 4, "id_slot": 0}).status_code == 200
    saved = server.post("/slots/0?action=save", {"filename": "one.bin"})
    assert saved.status_code == 200, saved.text
    assert os.listdir(folder / "slots") == ["one.bin"]
    restored = server.post("/slots/0?action=restore", {"filename": "one.bin"}).json()
    assert restored["n_restored"] == saved.json()["n_saved"]
    (folder / "slots" / "link").symlink_to("/etc/passwd")
    for name in ("../one.bin", "link", "none"):
        assert server.post("/slots/0?action=restore", {"filename": name}).status_code == 400
    (folder / "slots" / "link").unlink()


def test_many_at_once(server):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: server.post("/v1/chat/completions", {**CHAT, "seed": i}), range(24)))
    assert {answer.status_code for answer in found} == {200}
    assert len(os.listdir(f"/proc/{server.process.pid}/task")) < 64


def test_own_files(program, smollm2, folder):
    running = Running(smollm2, "--path", str(folder / "static"), "-c", "512", program=program)
    try:
        assert running.get("/").text == "<p>ours</p>"
        assert running.get("/below/note.txt").text == "a note"
        assert running.get("/none.txt").status_code == 404
    finally:
        assert running.stop() == 0
    assert "Traceback" not in running.text


def test_tls(program, smollm2, folder):
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
                   check=True, capture_output=True)
    running = Running(smollm2, "--ssl-key-file", str(key), "--ssl-cert-file", str(certificate), "-c", "512",
                      program=program)
    try:
        trusted = ssl.create_default_context(cafile=str(certificate))
        for _ in range(3):
            found = httpx.post(running.url + "/v1/chat/completions", json=CHAT, verify=trusted, timeout=PATIENCE)
            assert found.status_code == 200
    finally:
        assert running.stop() == 0
    assert "Traceback" not in running.text


def test_unix_socket(program, smollm2, tmp_path):
    path = tmp_path / "s.sock"
    running = Running(smollm2, "--host", str(path), "-c", "512", program=program)
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://localhost") as client:
            assert client.post("/v1/chat/completions", json=CHAT, timeout=PATIENCE).status_code == 200
    finally:
        assert running.stop() == 0
    again = Running(smollm2, "--host", str(path), "-c", "512", program=program)  # what is left of it is no hindrance
    assert again.stop() == 0
