"""A llama-server beside the peer's llama-bench, asked by as many clients at once."""

from __future__ import annotations

import http.client
import json
import random
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from .limits import Missing

START = 60  # seconds until it must be up


def speeds(options, path, clients, prompt, answer):
    """Tokens a second by number of clients; nothing where no llama-server lies beside options.peer."""
    server = options.peer and options.peer.with_name("llama-server")
    if not server or not server.exists():
        return {}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(server), "-m", str(path), "-t", str(options.threads), "-c", "16384", "-np", str(max(clients)),
               "--host", "127.0.0.1", "--port", str(port)]  # fmt: skip
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(port, process, server)
        return {n: max(_together(port, n, prompt, answer) for _ in range(options.rounds)) for n in clients}
    finally:
        process.kill()
        process.wait()


def _wait(port, process, server):
    ends = time.monotonic() + START
    while time.monotonic() < ends and process.poll() is None:
        try:
            if _ask(port, "GET", "/health")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise Missing(f"{server}: does not start")


def _ask(port, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    try:
        connection.request(method, path, body and json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _together(port, clients, prompt, answer):
    """Its own count of what it wrote a second, as each client's timings say, added up."""
    chance = random.Random()

    def one(_):
        body = {"prompt": [chance.randrange(1000, 40000) for _ in range(prompt)], "n_predict": answer,
                "ignore_eos": True, "cache_prompt": False}  # fmt: skip
        status, text = _ask(port, "POST", "/completion", body)
        if status != 200:
            raise Missing(f"llama-server: answers {status}")
        return json.loads(text)["timings"]["predicted_per_second"]

    with ThreadPoolExecutor(clients) as pool:
        return sum(pool.map(one, range(clients)))
