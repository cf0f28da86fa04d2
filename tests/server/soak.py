"""`python -m tests.server.soak [SECONDS] [PROGRAM]`: 16 clients ask, stream, cut off and send rubbish; what leaks?"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time

import httpx

from tests import weights

from .running import PATIENCE, SOURCES, Running

CLIENTS = 16
CONTEXT = 1024
PROMPTS = [f"Fact {n}: water" for n in range(8)]
GROWTH = 1.15  # of the memory in use after the first fifth


def body(prompt: str, **more) -> dict:
    return {"prompt": prompt, "n_predict": 12, "temperature": 0.8, "seed": 11, **more}


async def whole(client: httpx.AsyncClient, server: Running, pick: random.Random, expected: dict[str, str]) -> None:
    prompt = pick.choice(PROMPTS)
    answer = await client.post(server.url + "/completion", json=body(prompt))
    if answer.status_code == 503:
        return
    assert answer.status_code == 200 and answer.json()["content"] == expected[prompt], answer.text[:500]


async def streamed(client: httpx.AsyncClient, server: Running, pick: random.Random, expected: dict[str, str]) -> None:
    prompt, text = pick.choice(PROMPTS), ""
    async with client.stream("POST", server.url + "/completion", json=body(prompt, stream=True)) as response:
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                text += json.loads(line[6:])["content"]
    assert text == expected[prompt], (text, expected[prompt])


async def cut_off(client: httpx.AsyncClient, server: Running, pick: random.Random, expected: dict[str, str]) -> None:
    long = body(f"Story {pick.random()}:", stream=True) | {"n_predict": 1000, "ignore_eos": True}
    left = pick.randrange(5)
    async with client.stream("POST", server.url + "/completion", json=long) as response:
        async for _ in response.aiter_lines():
            left -= 1
            if left < 0:
                return


async def chat(client: httpx.AsyncClient, server: Running, pick: random.Random, expected: dict[str, str]) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer", "maximum": 99, "minimum": 0}},
              "required": ["a"], "additionalProperties": False}
    asked = {"messages": [{"role": "user", "content": f"Number {pick.randrange(9)}?"}], "max_tokens": 30,
             "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}}
    answer = await client.post(server.url + "/v1/chat/completions", json=asked)
    assert answer.status_code == 200, answer.text
    if answer.json()["choices"][0]["finish_reason"] == "stop":
        assert set(json.loads(answer.json()["choices"][0]["message"]["content"])) == {"a"}


async def rubbish(client: httpx.AsyncClient, server: Running, pick: random.Random, expected: dict[str, str]) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    start = pick.choice([b"", b"GET / ", b"POST /completion HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"])
    writer.write(start + pick.randbytes(pick.randrange(400)))
    if pick.random() < 0.5:
        await asyncio.sleep(pick.random() / 10)
    writer.close()


KINDS = (whole, whole, streamed, streamed, cut_off, chat, rubbish)


async def client(number: int, server: Running, until: float, expected: dict[str, str], counts: dict[str, int]) -> None:
    pick = random.Random(number)
    while time.monotonic() < until:
        kind = pick.choice(KINDS)
        async with httpx.AsyncClient(timeout=PATIENCE) as http:
            for _ in range(pick.randrange(1, 4)):
                await kind(http, server, pick, expected)
                counts[kind.__name__] = counts.get(kind.__name__, 0) + 1


def memory(server: Running) -> int:
    """Bytes of memory that are the process's own, without the mapped weights."""
    with open(f"/proc/{server.process.pid}/statm") as file:
        _, resident, shared = file.read().split()[:3]
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def soak(server: Running, seconds: float) -> None:
    """Soak a server; raises AssertionError for a wrong answer or a leak."""
    # The cache's memory comes with its first use: use all of it before anything is measured.
    assert server.post("/completion", {"prompt": "word " * (CONTEXT - 100), "n_predict": 1}).status_code == 200
    expected = {prompt: server.post("/completion", body(prompt)).json()["content"] for prompt in PROMPTS}
    counts: dict[str, int] = {}

    def turn(length: float) -> None:
        until = time.monotonic() + length

        async def together() -> None:
            await asyncio.gather(*(client(n, server, until, expected, counts) for n in range(CLIENTS)))

        asyncio.run(together())
        patience = time.monotonic() + PATIENCE
        while any(slot["is_processing"] for slot in server.get("/slots").json()):
            assert time.monotonic() < patience, "a slot still works for nobody"
            time.sleep(0.1)
        time.sleep(1)

    turn(seconds / 5)
    memory_before, files_before = memory(server), server.open_files()
    seen = [f"{memory_before >> 20} MiB, {files_before} files"]
    looks = 4 if seconds > 60 else 1
    for _ in range(looks):
        turn(seconds * 4 / 5 / looks)
        seen.append(f"{memory(server) >> 20} MiB, {server.open_files()} files")
    print(f"{counts}; {' → '.join(seen)}")
    patience = time.monotonic() + PATIENCE
    while server.open_files() > files_before + 3:
        assert time.monotonic() < patience, (files_before, server.open_files())
        time.sleep(0.1)
    assert memory(server) <= memory_before * GROWTH + (8 << 20)
    for prompt, text in expected.items():
        assert server.post("/completion", body(prompt)).json()["content"] == text
    assert "Traceback" not in server.text, server.text


def main() -> None:
    """Soak for so many seconds, ten minutes without a word."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 600.0
    program = tuple(sys.argv[2:3]) or SOURCES
    server = Running(str(weights.fetch("smollm2")), "-c", str(CONTEXT), program=program)
    try:
        soak(server, seconds)
    finally:
        server.stop()


if __name__ == "__main__":
    main()
