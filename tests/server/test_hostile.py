"""Bytes, bodies and manners that no client should have: every one gets an answer, and the server goes on."""

from __future__ import annotations

import json
import re
import select
import socket
import time

import httpx
import pytest

from llamafile.server import settings

from .running import PATIENCE, raw, receive

pytestmark = pytest.mark.models

HOST = b"Host: localhost\r\n"


def status(answer: bytes) -> int:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 "), answer[:200]
    if body:
        json.loads(body)
    return int(head.split()[1])


def request(line: bytes, *headers: bytes, body: bytes = b"") -> bytes:
    return line + b"\r\n" + HOST + b"Connection: close\r\n" + b"".join(h + b"\r\n" for h in headers) + b"\r\n" + body


@pytest.mark.parametrize("data", [
    b"\r\n\r\n\r\n\r\nrubbish\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n", b"G\0T / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /completion HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
    b"POST /completion HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"POST /completion HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + b"\xff\xfe\r\n\r\n",
])
def test_what_is_no_http(server, data):
    answer = raw(server, data)
    statuses = re.findall(rb"HTTP/1\.1 (\d\d\d) ", answer)
    assert not answer or statuses[-1] in (b"400", b"403", b"501", b"505"), answer[:200]
    assert server.get("/health").status_code == 200


def test_headers_have_a_bound(server):
    assert status(raw(server, request(b"GET /health HTTP/1.1", b"X: " + b"a" * settings.MOST_HEADERS))) == 431
    assert status(raw(server, request(b"GET /" + b"a" * settings.MOST_HEADERS + b" HTTP/1.1"))) == 431
    many = [b"X-%d: %s" % (i, b"a" * 100) for i in range(1000)]
    assert status(raw(server, request(b"GET /health HTTP/1.1", *many))) == 431


def test_a_body_has_a_bound(server):
    said = request(b"POST /completion HTTP/1.1", b"Content-Length: %d" % (settings.MOST_BODY + 1))
    assert status(raw(server, said)) == 413
    huge = request(b"POST /completion HTTP/1.1", b"Content-Length: " + b"9" * 400)
    assert status(raw(server, huge)) in (400, 413)
    client = server.connect()
    client.sendall(request(b"POST /completion HTTP/1.1", b"Transfer-Encoding: chunked"))
    chunk = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
    try:
        for _ in range((settings.MOST_BODY >> 20) + 1):
            client.sendall(chunk)
        client.sendall(b"0\r\n\r\n")
    except OSError:
        pass
    assert status(receive(client)) == 413
    client.close()
    big = {"content": "a" * (settings.MOST_BODY - 1000)}
    assert server.post("/tokenize", big).status_code == 200


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"prompt": "\xff"}', b"{'prompt': 1}", b'{"prompt": NaN}',
    b'{"prompt": "x", "temperature": Infinity}', b'{"prompt": "x", "n_predict": 1e999}', b"[" * 100000,
    b'{"a":' * 5000 + b"1" + b"}" * 5000, b'{"prompt": ' + b"[" * 500 + b"]" * 500 + b"}",
    b'{"prompt": "x", "seed": ' + b"9" * 5000 + b"}", b"{}", b'{"prompt": null}',
])
def test_bodies_that_are_no_request(server, body):
    found = httpx.post(server.url + "/completion", content=body, timeout=PATIENCE)
    assert found.status_code == 400, found.text
    error = found.json()["error"]
    assert error["code"] == 400 and error["type"] == "invalid_request_error" and error["message"]


@pytest.mark.parametrize(("field", "value"), [
    ("temperature", "hot"), ("temperature", True), ("temperature", [1]), ("top_k", 1.5), ("top_k", 1 << 40),
    ("top_k", -2), ("min_p", 2), ("n_predict", -3), ("n_predict", "5"), ("stream", 1), ("stream", "yes"),
    ("stop", 5), ("stop", [5]), ("seed", "x"), ("n_probs", -1), ("n_cmpl", 0), ("n_cmpl", 1000), ("id_slot", -2),
    ("id_slot", 99), ("logit_bias", 5), ("logit_bias", [[1]]), ("logit_bias", [[-1, 2]]),
    ("logit_bias", [[1 << 30, 2]]), ("logit_bias", [[1, "x"]]), ("logit_bias", {"a": "b"}),
    ("samplers", ["nothing"]), ("samplers", 4), ("grammar", 5), ("grammar", "root ::= ("), ("json_schema", 7),
    ("response_fields", "content"), ("mirostat", 3),
    ("cache_prompt", "no"), ("dry_sequence_breakers", [5]), ("repeat_penalty", 0), ("t_max_predict_ms", "soon"),
    ("prompt", []), ("prompt", [[]]), ("prompt", {}), ("prompt", 7), ("prompt", [1 << 30]), ("prompt", [-1]),
    ("prompt", [1.5]), ("prompt", [None]), ("n_keep", -2), ("lora", 1),
])
def test_every_field_is_checked(server, field, value):
    found = server.post("/completion", {"prompt": "x", "n_predict": 1, field: value})
    assert found.status_code == 400, found.text
    assert field in found.json()["error"]["message"]


def test_unknown_fields_and_null_are_ignored(server):
    found = server.post("/completion", {"prompt": "x", "n_predict": 1, "no_such_field": {"a": 1}, "temperature": None,
                                        "stop": None, "grammar": None})
    assert found.status_code == 200


@pytest.mark.parametrize("messages", [
    [], [{}], [{"role": "user"}], [{"role": "user", "content": 5}], [{"content": "x"}], "hello", [5],
    [{"role": "user", "content": [{"type": "text"}]}], [{"role": "user", "content": [{"type": "odd", "text": "x"}]}],
    [{"role": "assistant", "content": "only"}], [{"role": "user", "content": [{"text": "no type"}]}],
    [{"role": "user", "content": "x"}, {"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}],
    [{"role": "assistant", "tool_calls": [{}]}], [{"role": "assistant", "tool_calls": [{"function": {}}]}],
])
def test_conversations_that_are_none(server, messages):
    for path in ("/v1/chat/completions", "/apply-template", "/v1/chat/completions/input_tokens"):
        found = server.post(path, {"messages": messages})
        assert found.status_code == 400 and "messages" in found.json()["error"]["message"], found.text


def test_broken_characters_go_in_and_out(server):
    body = b'{"prompt": "\\ud800 a lone half", "n_predict": 1, "stop": ["\\udc00"], "model": "\\ud83d"}'
    found = httpx.post(server.url + "/completion", content=body)
    assert found.status_code == 200 and found.json()["stop"] is True


def test_a_grammar_bomb_does_not_go_off(server):
    """Repetitions are counted, not written out, so this one is served like any other; what is too large is refused."""
    bomb = "root ::= a{9}\n" + "".join(f"{chr(97 + i)} ::= {chr(98 + i)}{{99}}\n" for i in range(12)) + 'm ::= "x"\n'
    before = server.processor_seconds()
    assert server.post("/completion", {"prompt": "x", "grammar": bomb, "n_predict": 4}).status_code in (200, 400)
    assert server.processor_seconds() - before < 10
    nested = "root ::= " + "(" * 5000 + '"x"' + ")" * 5000
    assert server.post("/completion", {"prompt": "x", "grammar": nested}).status_code == 400
    assert server.post("/completion", {"prompt": "x", "grammar": "a" * (1 << 21)}).status_code == 400


def tokens_written(server):
    return int(re.search(r"^llamacpp:tokens_predicted_total (\d+)", server.get("/metrics").text, re.MULTILINE)[1])


@pytest.mark.parametrize("field", ["grammar", "json_schema"])
def test_what_grows_without_end_costs_the_server_little(server, field):
    laughs = "root ::= a0\n" + "".join(f"a{i} ::= a{i + 1} a{i + 1}\n" for i in range(3000)) + 'a3000 ::= "x"?'
    parts = {f"p{k}": {"$ref": "#/$defs/d", "minProperties": 0} for k in range(9)}
    schema = {"$defs": {"d": {"properties": parts}}, "$ref": "#/$defs/d"}
    body = {"prompt": "x", field: {"grammar": laughs, "json_schema": schema}[field]}
    assert server.post("/completion", body).status_code == 400  # and all is imported
    times = []
    for _ in range(3):
        before = server.processor_seconds()
        assert server.post("/completion", body).status_code == 400
        times.append(server.processor_seconds() - before)
    assert min(times) < 0.5, times


def test_paths_lead_nowhere_else(server):
    for path in (b"/../../etc/passwd", b"/%2e%2e/%2e%2e/etc/passwd", b"//etc/passwd", b"/..%2fetc/passwd",
                 b"/slots/../health", b"/%00", b"http://localhost/health", b"/health/", b"*"):
        assert status(raw(server, request(b"GET " + path + b" HTTP/1.1"))) in (400, 404), path


def test_keep_alive_pipelining_and_continue(server):
    first = b"POST /tokenize HTTP/1.1\r\n" + HOST + b"Content-Length: 15\r\n\r\n" + b'{"content":"a"}'
    last = request(b"GET /health HTTP/1.1")
    answer = raw(server, first + first + last)
    assert answer.count(b"HTTP/1.1 200 OK") == 3 and answer.endswith(b'{"status":"ok"}')
    client = server.connect()
    client.sendall(b"POST /tokenize HTTP/1.1\r\n" + HOST + b"Content-Length: 15\r\nExpect: 100-continue\r\n\r\n")
    assert client.recv(100).startswith(b"HTTP/1.1 100 ")
    client.sendall(b'{"content":"a"}')
    assert client.recv(1000).startswith(b"HTTP/1.1 200 OK")
    client.sendall(b"POST /nowhere HTTP/1.1\r\n" + HOST + b"Content-Length: 15\r\nExpect: 100-continue\r\n\r\n")
    assert client.recv(1000).startswith(b"HTTP/1.1 404 ")  # without its body having been asked for
    client.close()


def test_a_body_byte_by_byte(server):
    data = request(b"POST /tokenize HTTP/1.1", b"Content-Length: 15", body=b'{"content":"a"}')
    with server.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(data)):
            client.sendall(data[at : at + 1])
        assert status(receive(client)) == 200


def test_a_client_that_goes_frees_its_slot(server):
    body = json.dumps({"prompt": "Count: 1, 2, 3,", "n_predict": 1500, "ignore_eos": True, "stream": True}).encode()
    written = tokens_written(server)
    for stream in (True, False):
        clients = []
        for _ in range(6):
            client = server.connect()
            text = body if stream else body.replace(b"true}", b"false}")
            client.sendall(request(b"POST /completion HTTP/1.1", b"Content-Length: %d" % len(text), body=text))
            clients.append(client)
        deadline = time.monotonic() + PATIENCE
        while not any(slot["is_processing"] for slot in server.get("/slots").json()):
            assert time.monotonic() < deadline
        for client in clients:
            client.close()
        while any(slot["is_processing"] for slot in server.get("/slots").json()):
            assert time.monotonic() < deadline, "a slot still works for nobody"
            time.sleep(0.05)
    assert tokens_written(server) - written < 6 * 1500  # of twice as many
    metrics = server.get("/metrics").text
    assert "llamacpp:requests_processing 0" in metrics and "llamacpp:requests_deferred 0" in metrics


def test_slow_clients_are_cut_off(start, tinycoder, monkeypatch):
    impatient = start(tinycoder, "--timeout", "1")
    with impatient.connect() as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: loc")
        client.settimeout(PATIENCE)
        assert status(receive(client)) == 408
    with impatient.connect() as client:
        client.sendall(b"POST /tokenize HTTP/1.1\r\n" + HOST + b"Content-Length: 15\r\n\r\n" + b'{"con')
        client.settimeout(PATIENCE)
        assert receive(client) == b""
    with impatient.connect() as client:  # asks for much and reads nothing
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        body = json.dumps({"content": "a b " * 120_000, "with_pieces": True}).encode()
        client.sendall(b"POST /tokenize HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        hung_up = select.poll()
        hung_up.register(client, 0)
        assert hung_up.poll(PATIENCE * 1000)
        client.settimeout(PATIENCE)
        assert len(receive(client)) < 1 << 19  # of more than what kernels hold
    assert impatient.get("/health").status_code == 200


def test_nothing_is_left_open(server):
    before = server.open_files()
    for _ in range(50):
        server.connect().close()
        raw(server, b"rubbish\r\n\r\n")
        server.post("/tokenize", {"content": "x"})
    deadline = time.monotonic() + PATIENCE
    while server.open_files() > before + 2:
        assert time.monotonic() < deadline, (before, server.open_files())
        time.sleep(0.1)
