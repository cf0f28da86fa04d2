"""A small server of the page and of the HTTP interface it speaks, whose answers a test writes."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from llamafile import page


@dataclass
class Reply:
    """What the model says next: pieces of text, thoughts before it, tool calls after it, and how it goes."""

    text: str = ""
    reasoning: str = ""
    tools: list[dict[str, str]] = field(default_factory=list)  # id, name, arguments
    rate: float = 2000  # tokens a second
    size: int = 4  # characters a token
    progress: list[float] = field(default_factory=list)  # parts of the prompt read
    read: threading.Event | None = None  # waits for it after the last of those
    hold: threading.Event | None = None  # waits for it half-way
    cut: bool = False  # the connection ends half-way
    error: tuple[int, dict[str, Any]] | None = None  # status and error object in place of an answer
    finish: str = "stop"


class Mock:
    """Runs in a thread; `reply` is a Reply, or a function of the request's body that gives one."""

    def __init__(self) -> None:
        self.reply: Any = None
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.cancelled = 0
        self.key: str | None = None
        self.vision = False
        self.context = 8192
        self.loading = False
        self.port = 0
        self._server: _Server | None = None
        self.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Listen, on the same port as before where there was one."""
        self._server = _Server(("127.0.0.1", self.port), _Handler)
        self._server.mock = self
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Go away as a killed process does: every connection ends."""
        assert self._server is not None
        self._server.shutdown()
        self._server.end_all()
        self._server.server_close()

    def next_reply(self, body: dict[str, Any]) -> Reply:
        if callable(self.reply):
            return self.reply(body)
        if self.reply is not None:
            return self.reply
        said = body["messages"][-1]["content"]
        return Reply(f"You said: {said if isinstance(said, str) else said[-1]['text']}")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    mock: Mock

    def __init__(self, *words: Any) -> None:
        self.open: set[socket.socket] = set()
        super().__init__(*words)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def end_all(self) -> None:
        for connection in list(self.open):
            with contextlib.suppress(OSError):  # it may have ended by itself
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # browsers drop connections as they like


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *words: Any) -> None:
        pass

    def do_GET(self) -> None:
        mock, path = self.server.mock, self.path.split("?")[0]
        if path == "/health":
            status = {"status": "ok"} if not mock.loading else {"error": {"code": 503, "message": "Loading model"}}
            return self._json(status, 503 if mock.loading else 200)
        if path in ("/props", "/v1/models") and self._locked():
            return None
        if path == "/props":
            params = {"temperature": 0.8, "top_k": 40, "top_p": 0.949999988079071}
            return self._json({
                "default_generation_settings": {"n_ctx": mock.context, "params": params},
                "modalities": {"vision": mock.vision, "audio": False},
                "model_path": "/models/Mock-1B-Instruct.Q4_K_M.gguf",
                "chat_template": "{{ messages }}",
                "total_slots": 1,
            })
        if path == "/v1/models":
            return self._json({"object": "list", "data": [{"id": "Mock-1B-Instruct.Q4_K_M.gguf"}]})
        found = page.file(path)
        if found is None:
            return self._json({"error": {"code": 404, "message": "not found"}}, 404)
        packed = found.packed if "gzip" in self.headers.get("Accept-Encoding", "") else None
        self.send_response(200)
        for name, value in page.HEADERS.items():
            self.send_header(name, value)
        if packed:
            self.send_header("Content-Encoding", "gzip")
        return self._body(packed or found.data, found.type)

    def do_POST(self) -> None:
        mock = self.server.mock
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        if self._locked():
            return None
        if self.path == "/tokenize":
            return self._json({"tokens": list(range(len(body["content"]) // 4))})
        if self.path != "/v1/chat/completions":
            return self._json({"error": {"code": 404, "message": "not found"}}, 404)
        mock.requests.append(body)
        mock.headers.append({name.lower(): value for name, value in self.headers.items()})
        reply = mock.next_reply(body)
        if reply.error:
            return self._json({"error": reply.error[1]}, reply.error[0])
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            return self._stream(reply)
        except OSError:
            mock.cancelled += 1
            return None

    def _stream(self, reply: Reply) -> None:
        began = time.perf_counter()
        self._event(_delta(role="assistant", content=None))
        for part in reply.progress:
            total = 1000
            self._event({**_delta(), "prompt_progress": {"total": total, "cache": 0, "processed": int(part * total)}})
        if reply.read:
            reply.read.wait(90)
        pieces = [("reasoning_content", piece) for piece in _cut(reply.reasoning, reply.size)]
        pieces += [("content", piece) for piece in _cut(reply.text, reply.size)]
        due = time.perf_counter()
        for at, (kind, piece) in enumerate(pieces):
            if at == len(pieces) // 2:
                if reply.hold:
                    while not reply.hold.wait(0.05):
                        self._write(b":\n\n")  # notices that the other end has gone
                if reply.cut:
                    return
            self._event(_delta(**{kind: piece}))
            due += 1 / reply.rate
            time.sleep(max(0, due - time.perf_counter()))
        for index, call in enumerate(reply.tools):
            first = {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": ""}}
            self._event(_delta(tool_calls=[{"index": index, **first}]))
            for piece in _cut(call["arguments"], 5):
                self._event(_delta(tool_calls=[{"index": index, "function": {"arguments": piece}}]))
        took = time.perf_counter() - began
        self._event({
            "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls" if reply.tools else reply.finish}],
            "timings": {
                "cache_n": 100,
                "prompt_n": 20,
                "predicted_n": len(pieces),
                "predicted_ms": took * 1000,
                "predicted_per_second": len(pieces) / took,
            },
        })
        self._write(b"data: [DONE]\n\n")

    def _locked(self) -> bool:
        key = self.server.mock.key
        if key is None or self.headers.get("Authorization") == f"Bearer {key}":
            return False
        self._json({"error": {"code": 401, "message": "Invalid API Key", "type": "authentication_error"}}, 401)
        return True

    def _json(self, value: Any, status: int = 200) -> None:
        self.send_response(status)
        self._body(json.dumps(value).encode(), "application/json")

    def _body(self, data: bytes, kind: str) -> None:
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _event(self, chunk: dict[str, Any]) -> None:
        self._write(b"data: " + json.dumps(chunk).encode() + b"\n\n")

    def _write(self, data: bytes) -> None:
        self.wfile.write(data)
        self.wfile.flush()


def _delta(**fields: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": fields, "finish_reason": None}],
    }


def _cut(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]
