"""The built executable, with its weights inside: clients, streams, TLS, the sandbox, how soon it is up."""

from __future__ import annotations

import json
import shutil
import subprocess
import time

import httpx
import openai
import pytest

from tests.cli.boxes import aligned
from tests.executable.built import BUILT

from .running import PATIENCE, Running, events

pytestmark = [pytest.mark.built, pytest.mark.models]



@pytest.fixture(scope="module")
def program(smollm2, tmp_path_factory):
    if not BUILT.exists():
        pytest.skip(f"{BUILT} is not built; make executable")
    path = tmp_path_factory.mktemp("built") / "smollm2.llamafile"
    shutil.copy(BUILT, path)
    with open(smollm2, "rb") as file:
        aligned(path, {"SmolLM2.gguf": file.read(), ".args": b"-m\nSmolLM2.gguf\n-c\n2048\n--temp\n0\n...\n"})
    return (str(path),)


@pytest.fixture(scope="module")
def built(program, tmp_path_factory):
    folder = tmp_path_factory.mktemp("empty")
    found = Running(None, "--slot-save-path", str(folder), program=program, cwd=folder)
    yield found
    found.stop()
    assert "Traceback" not in found.text, found.text


def test_the_official_client(built):
    with openai.OpenAI(base_url=built.url + "/v1", api_key="none", max_retries=0) as client:
        messages = [{"role": "user", "content": "Hello"}]
        found = client.chat.completions.create(model="m", messages=messages, max_tokens=10, logprobs=True)
        chunks = client.chat.completions.create(model="m", messages=messages, max_tokens=10, stream=True)
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == found.choices[0].message.content != ""
        schema = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1, "maximum": 3}},
                  "required": ["a"], "additionalProperties": False}
        form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
        shaped = client.chat.completions.create(model="m", messages=messages, response_format=form, max_tokens=40)
        assert json.loads(shaped.choices[0].message.content)["a"] in (1, 2, 3)
        assert len(client.embeddings.create(model="m", input="x").data[0].embedding) == 576
        tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
        called = client.chat.completions.create(model="m", messages=messages, tools=[tool], tool_choice="required",
                                                max_tokens=60)
        assert called.choices[0].message.tool_calls[0].function.name == "look"
        assert client.responses.create(model="m", input="Hello", max_output_tokens=5).output_text


def test_every_endpoint_answers_behind_the_closed_door(built):
    with open(f"/proc/{built.process.pid}/status") as file:
        status = dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)
    assert int(status["Seccomp_filters"]) >= 1
    paths = built.get("/openapi.json").json()["paths"]
    for path, operations in paths.items():
        if "get" in operations:
            assert built.get(path).status_code in (200, 501), path
    asked = {
        "/tokenize": {"content": "x"}, "/detokenize": {"tokens": [5]}, "/completion": {"prompt": "x", "n_predict": 1},
        "/v1/completions": {"prompt": "x", "max_tokens": 1}, "/v1/embeddings": {"input": "x"},
        "/apply-template": {"messages": [{"role": "user", "content": "x"}]},
        "/v1/messages": {"messages": [{"role": "user", "content": "x"}], "max_tokens": 1},
        "/v1/messages/count_tokens": {"messages": [{"role": "user", "content": "x"}]},
        "/v1/responses/input_tokens": {"input": "x"}, "/lora-adapters": [],
        "/slots/0?action=save": {"filename": "a"}, "/slots/0?action=restore": {"filename": "a"},
        "/slots/0?action=erase": {},
    }  # fmt: skip
    for path, body in asked.items():
        found = built.post(path, body)
        assert found.status_code == 200, (path, found.text)
    assert built.post("/completion", {"prompt": "x", "grammar": 'root ::= "yes"', "n_predict": 9}).json()[
        "content"] == "yes"
    assert built.get("/").status_code == 200
    assert built.post("/v1/rerank", {}).status_code == 501 and built.post("/completion", {}).status_code == 400


def test_a_stream(built):
    asked = {"stream": True, "max_tokens": 5, "messages": [{"role": "user", "content": "Hello"}]}
    with httpx.stream("POST", built.url + "/v1/messages", timeout=PATIENCE, json=asked) as response:
        names = [name for name, _ in events(response)]
    assert names[0] == "message_start" and names[-1] == "message_stop" and names.count("content_block_delta") >= 3


def test_tls(program, tmp_path):
    key, cert = str(tmp_path / "key"), str(tmp_path / "cert")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days",
                    "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"], check=True,
                   capture_output=True)
    import ssl

    secure = Running(None, "--ssl-key-file", key, "--ssl-cert-file", cert, program=program)
    try:
        with httpx.Client(verify=ssl.create_default_context(cafile=cert), timeout=PATIENCE) as client:
            body = {"prompt": "The capital of France is", "n_predict": 2}
            assert client.post(secure.url + "/completion", json=body).json()["content"].startswith(" Paris")
    finally:
        assert secure.stop() == 0


def test_a_read_only_root_and_no_tmp(program, tmp_path):
    """Nothing is written anywhere: an empty environment, no home, a temporary folder that is none."""
    found = Running(None, program=program, environment={"HOME": "/nonexistent", "TMPDIR": "/nonexistent"})
    assert found.post("/completion", {"prompt": "x", "n_predict": 1}).status_code == 200
    assert found.stop() == 0


def test_it_is_up_soon(program):
    """By the processor's time, as machines may be busy; make bench measures, docs/speed.md has the parts."""
    took = []
    for _ in range(5):
        started = time.perf_counter()
        found = Running(None, "-v", program=program)
        took.append((found.processor_seconds(), time.perf_counter() - started))
        found.stop()
    assert min(took)[0] < 1 and min(seconds for _, seconds in took) < 10, took
