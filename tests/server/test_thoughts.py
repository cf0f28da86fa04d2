"""Thoughts, content and calls over HTTP: a made-up model says what each family writes, a character a token."""

from __future__ import annotations

import json
import subprocess

import httpx
import pytest

from tests.tool_calls.test_thoughts import CASES
from tests.tool_calls.test_tool_calls import TOOLS, merged

from . import parrot
from .running import ENVIRONMENT, PATIENCE, ROOT, SOURCES, Running, events

ASKED = {"messages": [{"role": "user", "content": "x"}], "temperature": 0, "max_tokens": 400}
NO_BREAK = "\u2003"  # white space that no answer has in it


def parts(message):
    calls = [[c["function"]["name"], json.loads(c["function"]["arguments"])] for c in message.get("tool_calls", ())]
    return message.get("reasoning_content", ""), message["content"] or "", calls


def streamed(server, body):
    asked = {**body, "stream": True}
    with httpx.stream("POST", server.url + "/v1/chat/completions", json=asked, timeout=PATIENCE) as answer:
        chunks = [json.loads(data) for _, data in events(answer) if data != "[DONE]"]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0] == {"role": "assistant", "content": None}
    said, thought, calls = merged([delta for delta in deltas[1:] if delta])
    return (thought, said, [[n, json.loads(a)] for n, a in calls]), chunks[-1]["choices"][0]["finish_reason"]


@pytest.fixture
def says(tmp_path):
    """A function that starts a server whose model says these pieces."""
    started = []

    def begin(template, prompt, pieces, *words):
        model = parrot.write(tmp_path / "parrot.gguf", pieces)
        text = "{# " + template.replace("{", "").replace("}", "") + " #}{{ messages[-1].content }}" + prompt + NO_BREAK
        started.append(Running(str(model), "--chat-template", text, "-c", "1024", *words))
        return started[-1]

    yield begin
    for each in started:
        each.stop()
        assert "Traceback" not in each.text, each.text


@pytest.mark.parametrize("name", CASES)
def test_a_character_a_token(says, name):
    template, prompt, text, *expected = CASES[name]
    server, expected = says(template, prompt.rstrip("\n"), list(text)), tuple(expected)
    body = {**ASKED, "tools": TOOLS}
    whole = server.post("/v1/chat/completions", body).json()["choices"][0]
    assert parts(whole["message"]) == expected
    assert whole["finish_reason"] == ("tool_calls" if expected[2] else "stop")
    assert streamed(server, body) == (expected, whole["finish_reason"])
    message = server.post("/v1/messages", {**ASKED, "tools": [
        {"name": tool["function"]["name"], "input_schema": tool["function"]["parameters"]} for tool in TOOLS]}).json()
    blocks = [[b["type"], b.get("thinking", b.get("text", b.get("input")))] for b in message["content"]]
    thought, said, calls = expected
    texts = [kind for kind in (["thinking", thought], ["text", said]) if kind[1]]
    assert blocks == [*texts, *(["tool_use", arguments] for _, arguments in calls)]


QWEN = CASES["qwen3"]


def test_where_thoughts_go(says):
    server = says(QWEN[0], "", list(QWEN[2]), "--reasoning-format", "none")
    plain = server.post("/v1/chat/completions", ASKED).json()["choices"][0]["message"]
    assert plain["content"] == QWEN[2] and "reasoning_content" not in plain
    for form in ("auto", "deepseek"):
        body = {**ASKED, "reasoning_format": form}
        assert parts(server.post("/v1/chat/completions", body).json()["choices"][0]["message"]) == QWEN[3:]
        assert streamed(server, body)[0] == QWEN[3:]
    found = server.post("/v1/responses", {"input": "x", "temperature": 0}).json()
    assert [item["type"] for item in found["output"]] == ["message"]


def test_responses_have_thoughts_of_their_own(says):
    found = says(QWEN[0], "", list(QWEN[2])).post("/v1/responses", {"input": "x", "temperature": 0}).json()
    assert [(item["type"], item["content"][0]["text"]) for item in found["output"]] == [
        ("reasoning", QWEN[3]), ("message", QWEN[4])]


LONG = [f"w{number} " for number in range(50)]


@pytest.mark.parametrize("opened", [False, True])
def test_a_budget(says, opened):
    """The model would think for 50 tokens; the end of its thoughts is written for it before that."""
    pieces = [*([] if opened else ["<think>"]), *LONG, "</think>", "\n\n", "Done."]
    server = says(QWEN[0], "<think>" if opened else "", pieces)
    for budget, words in ((0, 0), (7, 7), (49, 49), (50, 50), (500, 50)):
        body = {**ASKED, "reasoning_budget_tokens": budget}
        expected = "".join(LONG[:words]).strip(), "Done.", []
        assert parts(server.post("/v1/chat/completions", body).json()["choices"][0]["message"]) == expected
        assert streamed(server, body) == (expected, "stop")
        told = server.post("/v1/chat/completions", {**body, "reasoning_budget_message": "(enough)"}).json()
        cut = "".join(LONG[:words]) + "(enough)" * (budget <= 50)
        assert parts(told["choices"][0]["message"]) == (cut.strip(), "Done.", [])
        claude = server.post("/v1/messages", {**ASKED, "thinking": {"type": "enabled", "budget_tokens": budget}}).json()
        assert [block.get("thinking", block.get("text")) for block in claude["content"]] == [t for t in expected if t]


def test_a_budget_of_the_server(says):
    server = says(QWEN[0], "", ["<think>", *LONG, "</think>", "\n\n", "Done."], "--reasoning-budget", "5",
                  "--reasoning-budget-message", "...")
    found = parts(server.post("/v1/chat/completions", ASKED).json()["choices"][0]["message"])
    assert found == ("w0 w1 w2 w3 w4 ...", "Done.", [])
    free = {**ASKED, "reasoning_budget_tokens": -1}
    assert parts(server.post("/v1/chat/completions", free).json()["choices"][0]["message"])[0] == "".join(LONG).strip()


def test_the_chat_keeps_to_it_as_well(tmp_path):
    model = parrot.write(tmp_path / "parrot.gguf", ["<think>", *LONG, "</think>", "\n\n", "Done."])
    words = ["-m", str(model), "--chat-template", "{# <think> #}{{ messages[-1].content }}" + NO_BREAK, "--temp", "0"]
    done = subprocess.run([*SOURCES, "--chat", *words, "--reasoning-budget", "5"], input="x\n", capture_output=True,
                          text=True, timeout=120, cwd=ROOT, env={**ENVIRONMENT, "HOME": str(tmp_path)})
    assert done.returncode == 0 and done.stdout.strip() == "Done." and "w0 w1 w2 w3 w4" in done.stderr, done.stderr
    assert "w5" not in done.stderr


def test_what_the_template_is_told(says):
    server = says("", "", ["x"], "--reasoning", "off", "--reasoning-effort", "high", "--chat-template",
                  "{{ enable_thinking }} {{ reasoning_effort }}")
    for body, expected in (({}, "False high"), ({"reasoning_effort": "low"}, "False low"),
                           ({"chat_template_kwargs": {"enable_thinking": True}}, "True high")):
        assert server.post("/apply-template", {**ASKED, **body}).json()["prompt"] == expected
