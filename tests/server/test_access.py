"""Who may ask: keys, names of the host, origins of pages."""

from __future__ import annotations

import httpx
import pytest

pytestmark = pytest.mark.models

KEYS = ("alpha-key", "beta-key")


@pytest.fixture(scope="module")
def locked(start, tinycoder, tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "keys"
    path.write_text("\nfile-key\n\n")
    return start(tinycoder, "--api-key", ",".join(KEYS), "--api-key-file", str(path), "-v")


@pytest.fixture(scope="module")
def open_server(start, tinycoder):
    return start(tinycoder)


@pytest.mark.parametrize("key", [*KEYS, "file-key"])
def test_each_key_opens(locked, key):
    for headers in ({"authorization": f"Bearer {key}"}, {"x-api-key": key}, {"Authorization": f"bearer  {key}"}):
        assert locked.get("/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize("headers", [
    {}, {"authorization": "Bearer"}, {"authorization": "Bearer alpha"}, {"authorization": "Basic alpha-key"},
    {"x-api-key": "alpha-key2"}, {"x-api-key": ""}, {"authorization": "alpha-key"}, {"x-api-key": "alpha-key,beta-key"},
    {"authorization": "Bearer älpha".encode()},
])
def test_nothing_else_does(locked, headers):
    for path in ("/v1/models", "/slots", "/openapi.json", "/props"):
        found = locked.get(path, headers=headers)
        assert found.status_code == 401 and found.json()["error"]["type"] == "authentication_error"
    assert locked.post("/completion", {"prompt": "x"}, headers=headers).status_code == 401


def test_what_needs_no_key(locked):
    for path in ("/health", "/v1/health", "/"):
        assert locked.get(path).status_code == 200


def test_keys_are_never_written(locked):
    locked.get("/v1/models", headers={"authorization": "Bearer wrong-secret"})
    for word in (*KEYS, "file-key", "wrong-secret"):
        assert word not in locked.text


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST", "localhost:8080"])
def test_names_of_this_machine(open_server, name):
    assert open_server.get("/health", headers={"host": name}).status_code == 200


@pytest.mark.parametrize("name", ["evil.example", "evil.example:8080", "localhost.evil.example",
                                  "127.0.0.1.evil.example",
                                  "10.0.0.1", "", "[::1].evil", "0.0.0.0"])
def test_other_names_are_rebinding(open_server, name):
    found = open_server.get("/health", headers={"host": name})
    assert found.status_code == 403 and found.json()["error"]["type"] == "permission_error"


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1:8080", "https://localhost"])
def test_pages_of_this_machine_may_ask(open_server, origin):
    found = open_server.get("/v1/models", headers={"origin": origin})
    assert found.status_code == 200 and found.headers["access-control-allow-origin"] == origin
    assert found.headers["vary"] == "Origin" and "access-control-allow-credentials" not in found.headers


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example",
                                    "http://evil@localhost",
                                    "file://", "http://127.0.0.1.evil.example:8080", "localhost"])
def test_pages_of_others_may_not(open_server, origin):
    found = open_server.post("/completion", {"prompt": "x"}, headers={"origin": origin, "content-type": "text/plain"})
    assert found.status_code == 403 and "access-control-allow-origin" not in found.headers


def test_a_preflight(open_server):
    asked = {"origin": "http://localhost:3000", "access-control-request-method": "POST",
             "access-control-request-headers": "authorization, content-type"}
    found = httpx.options(open_server.url + "/v1/chat/completions", headers=asked)
    assert found.status_code == 204 and found.headers["access-control-allow-origin"] == asked["origin"]
    assert "POST" in found.headers["access-control-allow-methods"]
    assert found.headers["access-control-allow-headers"] == "authorization, content-type"
    asked["origin"] = "https://evil.example"
    assert httpx.options(open_server.url + "/v1/chat/completions", headers=asked).status_code == 403


def test_origins_by_configuration(start, tinycoder):
    chosen = start(tinycoder, "--cors-origins", "https://a.example, https://b.example", "--cors-credentials")
    found = chosen.get("/v1/models", headers={"origin": "https://b.example"})
    assert found.status_code == 200 and found.headers["access-control-allow-credentials"] == "true"
    assert chosen.get("/v1/models", headers={"origin": "http://localhost"}).status_code == 403
    everyone = start(tinycoder, "--cors-origins", "*")
    found = everyone.get("/v1/models", headers={"origin": "https://any.example"})
    assert found.headers["access-control-allow-origin"] == "https://any.example"
