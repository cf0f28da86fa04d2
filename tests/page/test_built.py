"""The page against the real server in the built executable, with a real model."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest

pytest.importorskip("playwright.sync_api")
pytest.importorskip("llamafile.server")

from playwright.sync_api import expect

from tests.executable import built

from .conftest import PATIENCE, Context
from .hands import answers, ask, import_file, said, send, wait_done
from .test_attacks import ATTACKS, check_harmless

pytestmark = [pytest.mark.built, pytest.mark.models]


class Server:
    """The executable as a server on a port of its own, which can be ended and started again."""

    def __init__(self, model, log, *words):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = log
        self.command = [str(built.executable()), "--server", "--nobrowser", "--host", "127.0.0.1",
                        "--port", str(self.port), "-m", model, "-c", "2048", *words]
        self.start()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.port}/"

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for _ in range(PATIENCE // 100):
            try:
                with urllib.request.urlopen(self.address + "health") as answer:
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, ConnectionError):
                assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def server(smollm2, tmp_path_factory):
    one = Server(smollm2, tmp_path_factory.mktemp("server") / "log")
    yield one
    one.stop()


@pytest.fixture
def context(browser, server):
    one = Context(browser, server.address)
    yield one
    one.check()
    one.context.close()


@pytest.fixture
def page(context):
    return context.page()


def set_up(page, **fields):
    """Settings that make answers short, and the same every time."""
    page.keyboard.press("Control+,")
    for label, value in {"Longest answer": "24", "Seed": "7", "Temperature": "0", **fields}.items():
        page.get_by_label(label).fill(value)
    page.get_by_role("button", name="Done").click()


def kept_answer(page):
    """The text of the last answer as the page keeps it."""
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Export all chats").click()
    messages = json.loads(waiting.value.path().read_text())["chats"][0]["messages"]
    assert messages[-1]["role"] == "assistant"
    return messages[-1]["text"]


def test_a_conversation(page, server):
    expect(page.locator(".model")).to_contain_text("SmolLM2")
    set_up(page, **{"In all chats": "You answer in one sentence."})
    first = ask(page, "What is the capital of France?")
    expect(first).to_contain_text("Paris")
    expect(answers(page).last.locator(".speed")).to_contain_text("tokens/s")
    expect(page.locator(".context")).to_contain_text("of 2.0k")
    ask(page, "And of Italy?")
    text = answers(page).last.locator(".markdown").inner_text()
    page.reload()
    expect(answers(page).last.locator(".markdown")).to_have_text(text)

    said(page).first.hover()
    said(page).first.get_by_role("button", name="Edit").click()
    page.get_by_label("Edit your message").fill("What is the capital of Spain?")
    page.keyboard.press("Enter")
    wait_done(page, 1)
    expect(answers(page).last.locator(".markdown")).to_contain_text("Madrid")
    said(page).first.get_by_role("button", name="Earlier version").click()
    expect(answers(page)).to_have_count(2)
    answers(page).last.get_by_role("button", name="Answer again").click()
    expect(answers(page).last).to_contain_text("2/2")
    wait_done(page)
    expect(answers(page).last.locator(".markdown")).to_have_text(text)  # the same seed: the same words

    page.keyboard.press("Control+k")
    page.keyboard.type("spain")
    expect(page.locator(".row")).to_have_count(1)


def test_an_answer_goes_on_where_it_ended(page, server):
    set_up(page, **{"Longest answer": "12"})
    text = ask(page, "Write a story about a llama.").inner_text()
    answers(page).last.get_by_role("button", name="Go on").click()
    wait_done(page, 1)
    longer = answers(page).last.locator(".markdown").inner_text()
    assert longer.startswith(text.rstrip()) and len(longer) > len(text) + 10


def test_stop_ends_the_work_of_the_server(page, server):
    set_up(page, **{"Longest answer": "1500", "Temperature": "1"})
    send(page, "Write a very long story about the sea.")
    expect(answers(page).last.locator(".markdown")).to_contain_text(" ")
    expect(page.locator(".rate")).to_be_visible()
    page.keyboard.press("Escape")
    expect(answers(page).last.get_by_text("Stopped.")).to_be_visible()
    for _ in range(PATIENCE // 100):
        with urllib.request.urlopen(server.address + "slots") as answer:
            if not any(slot["is_processing"] for slot in json.load(answer)):
                break
        time.sleep(0.1)
    else:
        raise AssertionError("a slot is still at work")


def test_the_page_and_the_api_say_the_same(page, server):
    set_up(page, **{"Temperature": "0.7", "Longest answer": "40"})
    shown = ask(page, "Name three animals.").inner_text()
    body = {"messages": [{"role": "user", "content": "Name three animals."}], "seed": 7, "temperature": 0.7,
            "max_tokens": 40}
    asked = urllib.request.Request(server.address + "v1/chat/completions", json.dumps(body).encode(),
                                   {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked) as answer:
        text = json.load(answer)["choices"][0]["message"]["content"]
    assert kept_answer(page) == text and shown


def test_a_file_is_read_and_chats_come_back_from_an_export(page, server, browser):
    set_up(page)
    page.locator('input[data-for="attach"]').set_input_files(
        {"name": "fact.txt", "mimeType": "text/plain", "buffer": b"The password is swordfish."})
    text = ask(page, "What is the password?").inner_text()
    assert "swordfish" in text
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Export all chats").click()
    other = Context(browser, server.address)
    fresh = other.page()
    import_file(fresh, waiting.value.path())
    fresh.locator(".row a").click()
    expect(answers(fresh).last.locator(".markdown")).to_have_text(text)
    other.check()
    other.context.close()


@pytest.mark.parametrize("attack", ["script", "onerror in a paragraph", "javascript link", "remote image", "form"])
def test_a_model_that_attacks(page, server, attack):
    """The engine is made to say it by a grammar, which the test slips into the page's own request."""
    def force(route):
        body = route.request.post_data_json
        route.continue_(post_data=json.dumps({**body, "grammar": f"root ::= {json.dumps(ATTACKS[attack])}"}))

    page.route("**/v1/chat/completions", force)
    set_up(page, **{"Longest answer": "200"})
    ask(page, "Attack me.")
    assert kept_answer(page) == ATTACKS[attack]
    check_harmless(page)


def test_gone_and_back(page, server):
    set_up(page)
    ask(page, "Say hello.")
    page.locator("#composer").fill("typed meanwhile")
    server.stop()
    page.locator("#composer").press("Enter")
    expect(page.get_by_text("server is not answering")).to_be_visible()
    page.locator("#composer").fill("kept")
    server.start()
    expect(page.get_by_text("Connected again.")).to_be_visible()
    expect(page.locator("#composer")).to_have_value("kept")
    answers(page).last.get_by_role("button", name="Try again").click()
    wait_done(page)
    expect(answers(page).last.locator(".markdown")).to_contain_text(" ")


def test_a_context_that_is_full_is_explained(page, server):
    set_up(page)
    send(page, "word " * 4000)
    expect(answers(page).last.get_by_role("alert")).to_contain_text("longer than the model can hold in mind")


def test_a_key(browser, smollm2, tmp_path):
    server = Server(smollm2, tmp_path / "log", "--api-key", "correct-horse")
    try:
        context = Context(browser, server.address)
        page = context.page()
        page.get_by_label("API key").fill("correct-horse")
        page.keyboard.press("Enter")
        expect(page.locator(".model")).to_contain_text("SmolLM2")
        set_up(page)
        ask(page, "Say hello.")
        context.check()
        context.context.close()
    finally:
        server.stop()
