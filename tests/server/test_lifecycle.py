"""Beginning and end: addresses, TLS, service managers, signals, what a user gets wrong."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import stat
import struct
import subprocess
import sys
import threading
import time

import httpx
import pytest

from .running import ENVIRONMENT, PATIENCE, ROOT, Running, events

pytestmark = pytest.mark.models


def wrong(*words, **more):
    done = subprocess.run([sys.executable, "-m", "llamafile", "--server", *words], cwd=ROOT, capture_output=True,
                          text=True, timeout=PATIENCE, env=ENVIRONMENT, **more)
    assert done.returncode == 1 and done.stdout == "" and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_a_port_that_is_taken_makes_way(start, tinycoder):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        second = start(tinycoder, port=str(port))
    assert port < second.port <= port + 10
    assert f"llamafile: port {port} is taken, listening on {second.port} instead" in second.lines


def test_eleven_ports_that_are_taken(tinycoder):
    first, taken = next((port, held) for port in range(20000, 60000, 11) if (held := _eleven(port)))
    line = wrong("-m", tinycoder, "--port", str(first))
    assert line.startswith(f"llamafile: 127.0.0.1 port {first} to {first + 10}: Address already in use; ")
    for each in taken:
        each.close()


def _eleven(first):
    """Sockets that listen at a port and the ten behind it; none where one of those is somebody else's."""
    held = [socket.socket() for _ in range(11)]
    try:
        for offset, each in enumerate(held):
            each.bind(("127.0.0.1", first + offset))
            each.listen()
    except OSError:
        for each in held:
            each.close()
        return []
    return held


@pytest.mark.parametrize(("words", "message"), [
    (["--host", "no.such.host.invalid"], "--host: 'no.such.host.invalid' is no address of this machine"),
    (["--host", "192.0.2.1"], "192.0.2.1 port 0: Cannot assign requested address; "),
    (["--host", "/no/such/folder/x.sock"], "--host: /no/such/folder/x.sock: No such file or directory; "),
    (["--ssl-key-file", "x"], "TLS: needs both --ssl-key-file and --ssl-cert-file; "),
    (["--ssl-key-file", "/no/x", "--ssl-cert-file", "/no/y"], "/no/y: cannot be read: No such file or directory; "),
    (["--api-key-file", "/no/such"], "/no/such: cannot be read: No such file or directory; "),
    (["--slot-save-path", "/no/such"], "--slot-save-path: /no/such: is no folder; "),
    (["--path", "/no/such"], "--path: /no/such: is no folder; "),
    (["--api-prefix", "x"], "--api-prefix: 'x' does not begin with a slash; "),
    (["--pooling", "rank"], "--pooling rank: this build runs no ranking models; "),
    (["--listen", "x"], "--listen: 'x' is not HOST:PORT; "),
    (["--temp", "nan"], "--temp: nan is not between "),
    (["-m", "/no/such.gguf"], "/no/such.gguf"),
])
def test_what_a_user_gets_wrong_is_one_line(tinycoder, words, message):
    line = wrong("--port", "0", "-m", tinycoder, *words)
    assert line.startswith("llamafile: ") and message in line, line


def test_a_unix_socket(start, tinycoder, tmp_path):
    path = str(tmp_path / "llama.sock")
    found = start(tinycoder, "--host", path, "--unsecure")
    assert found.url == f"unix:{path}" and stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with httpx.Client(transport=httpx.HTTPTransport(uds=path)) as client:
        assert client.get("http://localhost/health").json() == {"status": "ok"}
        assert client.get("http://public.example/health").status_code == 200  # as a proxy before it may say
    assert found.stop() == 0 and not os.path.exists(path)
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(path)  # as a server leaves it that was killed
    dead.close()
    again = start(tinycoder, "--host", path)
    with httpx.Client(transport=httpx.HTTPTransport(uds=path)) as client:
        assert client.get("http://localhost/health").status_code == 200
    assert path in wrong("-m", tinycoder, "--host", path)  # a living one is left alone
    assert again.process.poll() is None


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    key, cert = str(folder / "key.pem"), str(folder / "cert.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days",
                    "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
                   check=True, capture_output=True)
    return key, cert


def test_tls(start, tinycoder, certificate):
    key, cert = certificate
    found = start(tinycoder, "--ssl-key-file", key, "--ssl-cert-file", cert)
    assert found.url.startswith("https://")
    context = ssl.create_default_context(cafile=cert)
    with httpx.Client(verify=context, timeout=PATIENCE) as client:
        assert client.get(found.url + "/health").json() == {"status": "ok"}
        with client.stream("POST", found.url + "/completion", json={"prompt": "def", "n_predict": 5,
                                                                    "stream": True}) as response:
            assert json.loads(events(response)[-1][1])["stop"] is True
    with found.connect() as client:  # plain HTTP to a TLS port
        client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        client.settimeout(PATIENCE)
        assert b"HTTP/1.1 200" not in client.recv(1000)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.maximum_version = ssl.TLSVersion.TLSv1_3
    with found.connect() as plain, old.wrap_socket(plain) as client:
        assert client.version() == "TLSv1.3"


def test_a_handshake_that_never_comes(start, tinycoder, certificate):
    found = start(tinycoder, "--timeout", "1", "--ssl-key-file", certificate[0], "--ssl-cert-file", certificate[1])
    with found.connect() as client:
        client.settimeout(PATIENCE)
        assert client.recv(10) == b""
    with httpx.Client(verify=ssl.create_default_context(cafile=certificate[1]), timeout=PATIENCE) as client:
        assert client.get(found.url + "/health").status_code == 200


def test_keys_and_certificates_that_are_no_pair(tinycoder, certificate, tmp_path):
    key, cert = certificate
    other, curve, locked, damaged = (str(tmp_path / name) for name in ("other", "curve", "locked", "damaged"))
    for words in (["genrsa", "-out", other], ["rsa", "-in", key, "-aes256", "-passout", "pass:x", "-out", locked],
                  ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", curve]):
        subprocess.run(["openssl", *words], check=True, capture_output=True)
    with open(key) as file, open(damaged, "w") as copy:
        copy.write(file.read().replace("MII", "!!!"))
    for pair, message in (
        ((other, cert), f"TLS: {cert} and {other}: the key does not belong to the certificate; "),
        ((curve, cert), f"TLS: {cert} and {curve}: the key does not belong to the certificate; "),
        ((locked, cert), f"TLS: {locked}: the key is protected by a password; "),
        ((damaged, cert), f"TLS: {cert} and {damaged}: one of them is damaged ("),
        ((cert, cert), f"TLS: {cert}: has no private key as PEM in it; "),
        ((key, key), f"TLS: {key}: has no certificate as PEM in it; "),
        ((str(tmp_path / "none"), cert), f"{tmp_path}/none: cannot be read: No such file or directory; "),
    ):
        line = wrong("-m", tinycoder, "--port", "0", "--ssl-key-file", pair[0], "--ssl-cert-file", pair[1])
        assert line.startswith(f"llamafile: {message}"), line


def test_a_prefix_and_an_alias(start, tinycoder):
    found = start(tinycoder, "--api-prefix", "/llm/", "-a", "coder, tiny", "--tags", "a,b")
    assert found.url.endswith("/llm") and "coder is served at" in found.text
    model = found.get("/v1/models").json()["data"][0]
    assert model["id"] == "coder" and model["aliases"] == ["coder", "tiny"] and model["tags"] == ["a", "b"]
    assert httpx.get(f"http://127.0.0.1:{found.port}/v1/models").status_code == 404


def test_a_folder_of_files(start, tinycoder, tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "index.html").write_text("<p>mine")
    (tmp_path / "inner" / "index.html").write_text("inner")
    (tmp_path / "a b.js").write_text("1")
    (tmp_path / "out").symlink_to("/etc/hostname")
    found = start(tinycoder, "--path", str(tmp_path))
    assert found.get("/").text == "<p>mine" and found.get("/inner/").text == "inner"
    assert found.get("/a%20b.js").headers["content-type"].startswith("text/javascript")
    assert found.get("/out").status_code == 404 and found.get("/inner/../../x").status_code == 404
    assert start(tinycoder, "--no-ui").get("/").status_code == 404


def test_switches_of_endpoints(start, tinycoder):
    found = start(tinycoder, "--no-slots", "--props", "-np", "2", "-c", "512")
    assert found.get("/slots").status_code == 501 and found.get("/metrics").status_code == 501
    assert found.get("/props").json()["total_slots"] == 2
    assert found.post("/props", {"temperature": 0.25, "seed": 9}).json() == {"success": True}
    params = found.get("/props").json()["default_generation_settings"]["params"]
    assert (params["temperature"], params["seed"]) == (0.25, 9)
    assert found.post("/props", {"temperature": "x"}).status_code == 400


def test_environment_twins(start, tinycoder):
    found = start(None, port="0", environment={"LLAMA_ARG_MODEL": tinycoder, "LLAMA_API_KEY": "k",
                                               "LLAMA_ARG_ENDPOINT_METRICS": "1", "LLAMA_ARG_ALIAS": "env"})
    assert found.get("/metrics").status_code == 401
    assert found.get("/metrics", headers={"x-api-key": "k"}).status_code == 200


def test_health_is_503_until_the_model_is_there(smollm2):
    """The address is known before the model: whoever asks meanwhile gets an answer that says so."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    found = Running(smollm2, port=str(port), wait=False)
    statuses = []
    deadline = time.monotonic() + PATIENCE
    while 200 not in statuses:
        assert time.monotonic() < deadline and found.process.poll() is None
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/health", timeout=PATIENCE)
        except httpx.TransportError:
            continue
        statuses.append(answer.status_code)
        if answer.status_code == 503:
            assert answer.json()["error"] == {"code": 503, "message": "Loading model", "type": "unavailable_error"}
    assert set(statuses) <= {200, 503}
    assert found.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_running_answers_finish_and_new_ones_are_refused(smollm2, number):
    found = Running(smollm2, "-c", "1024", "-t", "1", "--drain-seconds", "600")
    # Long enough to be under way still when whoever looks on, on a busy machine, has done so.
    body = {"prompt": "Count: 1, 2, 3,", "n_predict": 300, "ignore_eos": True, "stream": True}
    pieces = []

    def ask():
        with httpx.stream("POST", found.url + "/completion", json=body, timeout=PATIENCE) as response:
            for line in response.iter_lines():
                if line.startswith("data: "):
                    pieces.append(json.loads(line[6:]))

    client = threading.Thread(target=ask)
    with httpx.Client(timeout=PATIENCE) as other:
        other.get(found.url + "/health")
        client.start()
        while not pieces:
            time.sleep(0.01)
        found.process.send_signal(number)
        while "finishing 1 requests" not in found.text:
            time.sleep(0.01)
        refused = httpx.post(found.url + "/completion", json=body, timeout=PATIENCE)
        assert refused.status_code == 503 and refused.headers["retry-after"]
        assert refused.headers["connection"] == "close"
    client.join(PATIENCE)
    assert pieces[-1]["stop"] is True and pieces[-1]["tokens_predicted"] == 300
    assert found.process.wait(PATIENCE) == 0
    found.stop()


def test_the_drain_has_a_limit_and_the_second_ctrl_c_none(smollm2):
    for more in ([], ["--drain-seconds", "0"]):
        found = Running(smollm2, "-c", "4096", *more)
        body = {"prompt": "Count: 1, 2, 3,", "n_predict": 4000, "ignore_eos": True, "stream": True}
        with httpx.stream("POST", found.url + "/completion", json=body, timeout=PATIENCE) as response:
            lines = response.iter_lines()
            next(lines)
            found.process.send_signal(signal.SIGINT)
            if not more:
                while "finishing" not in found.text:
                    time.sleep(0.01)
                found.process.send_signal(signal.SIGINT)
            try:
                rest = [line for line in lines if line.startswith("data: ")]
            except httpx.RemoteProtocolError:
                rest = []
        assert found.process.wait(PATIENCE) == (0 if more else 130)
        if more:  # what was cut off still got its end
            end = json.loads(rest[-1][6:])
            assert end["stop"] is True and end["tokens_predicted"] < 4000
        found.stop()


@pytest.mark.parametrize("abstract", [False, True])
def test_a_service_manager_is_told(tinycoder, tmp_path, abstract):
    """As sd_notify(3) has it: a datagram a state, to a path or to an abstract name, which is written with an @."""
    path = f"@llamafile-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path.replace("@", "\0") if abstract else path)
        manager.settimeout(PATIENCE)
        manager.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        found = Running(tinycoder, environment={"NOTIFY_SOCKET": path})
        ready, credentials, _, _ = manager.recvmsg(100, 100)
        assert ready == b"READY=1" and found.get("/health").status_code == 200  # not before it is so
        assert struct.unpack("iii", credentials[0][2])[0] == found.process.pid  # NotifyAccess=main asks for that
        found.process.send_signal(signal.SIGTERM)
        assert manager.recv(100) == b"STOPPING=1"
        assert found.stop() == 0
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.recv(100)


@pytest.mark.parametrize("path", ["", "@", "relative", "/no/such/socket", "vsock:2:1"])
def test_a_service_manager_that_is_not_there(tinycoder, path):
    found = Running(tinycoder, environment={"NOTIFY_SOCKET": path})
    assert found.get("/health").status_code == 200
    assert found.stop() == 0 and len(found.lines) <= 2, found.lines


def test_a_socket_is_handed_over(tinycoder, tmp_path):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        code = ("import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ.update(LISTEN_PID=str(os.getpid()), "
                "LISTEN_FDS='1'); os.execv(sys.executable, [sys.executable, '-m', 'llamafile', *sys.argv[2:]])")
        program = (sys.executable, "-c", code, str(listening.fileno()))
        found = Running(tinycoder, program=program, port="1", pass_fds=[listening.fileno()])
        assert found.port == listening.getsockname()[1]
    assert found.get("/health").status_code == 200
    assert found.stop() == 0


def test_nothing_is_said_about_requests(server):
    lines = len(server.lines)
    server.get("/health")
    server.post("/completion", {"prompt": 5})
    time.sleep(0.2)
    assert len(server.lines) == lines


def test_no_word_at_all(tinycoder):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    found = Running(tinycoder, "--log-disable", port=str(port), wait=False)
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health", timeout=PATIENCE).status_code == 200:
                break
        except httpx.TransportError:
            assert time.monotonic() < deadline
    assert found.stop() == 0 and found.lines == []


def test_many_threads_at_rest_use_no_processor_time(start, tinycoder):
    """Sixty-four threads in four groups sleep once an answer is written, and wake for the next."""
    server = start(tinycoder, "-t", "64", "-c", "256")
    for _ in range(2):
        assert server.post("/completion", {"prompt": "def f(", "n_predict": 4}).status_code == 200
        time.sleep(0.5)
        before = server.processor_seconds()
        time.sleep(3)
        assert server.processor_seconds() - before < 0.1
    assert len(os.listdir(f"/proc/{server.process.pid}/task")) > 64
