"""Many clients at once: each gets its own answer, the same as alone, whole or in pieces."""

from __future__ import annotations

import asyncio
import json
import random

import httpx
import pytest

from .running import PATIENCE

pytestmark = pytest.mark.models

PROMPTS = [f"The number {n} is followed by" for n in range(12)]


def body(prompt, **more):
    return {"prompt": prompt, "n_predict": 12, "temperature": 0.9, "seed": 5, **more}


async def ask(client, url, prompt, stream):
    if not stream:
        return (await client.post(url, json=body(prompt))).json()["content"]
    text = ""
    async with client.stream("POST", url, json=body(prompt, stream=True)) as response:
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                text += json.loads(line[6:])["content"]
    return text


def test_each_gets_the_answer_that_it_gets_alone(server):
    url = server.url + "/completion"
    alone = [httpx.post(url, json=body(prompt), timeout=PATIENCE).json()["content"] for prompt in PROMPTS]

    async def together():
        async with httpx.AsyncClient(timeout=PATIENCE) as client:
            return await asyncio.gather(*(ask(client, url, p, i % 2 == 0) for i, p in enumerate(PROMPTS)))

    assert asyncio.run(together()) == alone


def test_some_cut_off_and_the_others_do_not_notice(server):
    url = server.url + "/completion"
    alone = [httpx.post(url, json=body(prompt), timeout=PATIENCE).json()["content"] for prompt in PROMPTS[:4]]

    async def cut_off(client, n):
        long = body(f"Story {n}:", stream=True) | {"n_predict": 500, "ignore_eos": True}
        async with client.stream("POST", url, json=long) as response:
            async for _ in response.aiter_lines():
                await asyncio.sleep(random.Random(n).random() / 10)
                return

    async def together():
        async with httpx.AsyncClient(timeout=PATIENCE) as client:
            wanted = [ask(client, url, prompt, True) for prompt in PROMPTS[:4]]
            answers, _ = await asyncio.gather(asyncio.gather(*wanted),
                                              asyncio.gather(*(cut_off(client, n) for n in range(8))))
            return answers

    assert asyncio.run(together()) == alone


def test_a_bounded_queue(start, tinycoder):
    """What the queue does not hold is refused at once, with a time to come back."""
    small = start(tinycoder, "-np", "1", "-c", "512", "--context-shift")
    endless = {"prompt": "def", "n_predict": -1, "ignore_eos": True, "stream": True}

    async def one(client):
        answer = await client.post(small.url + "/completion", json={"prompt": "def", "n_predict": 4})
        return answer.status_code, answer.headers.get("retry-after")

    async def flood():
        limits = httpx.Limits(max_connections=400)
        async with httpx.AsyncClient(timeout=PATIENCE, limits=limits) as client:
            async with client.stream("POST", small.url + "/completion", json=endless) as response:
                await anext(response.aiter_lines())  # from here on nobody else is served
                asked = [asyncio.create_task(one(client)) for _ in range(350)]
                await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            return await asyncio.gather(*asked)

    found = asyncio.run(flood())
    assert {status for status, _ in found} == {200, 503}
    assert all(again is not None and int(again) >= 1 for status, again in found if status == 503)
    assert small.post("/completion", {"prompt": "def", "n_predict": 1}).status_code == 200
