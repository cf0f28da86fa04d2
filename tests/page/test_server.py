"""The server going away, coming back, loading, asking for a key: said in words, and nothing typed is lost."""

from __future__ import annotations

import threading

import pytest

pytest.importorskip("playwright.sync_api")

from playwright.sync_api import expect

from .hands import answers, ask, send, wait_done
from .mock import Reply


def test_gone_and_back(page, mock):
    ask(page, "are you there")
    page.locator("#composer").fill("typed while it went")
    mock.stop()
    page.locator("#composer").press("Enter")  # the page does not know yet
    expect(page.get_by_text("server is not answering")).to_be_visible()
    expect(answers(page).last.get_by_role("alert")).to_contain_text("does not answer")
    page.locator("#composer").fill("typed while it was away")
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_disabled()
    page.locator("#composer").press("Enter")
    expect(page.locator("#composer")).to_have_value("typed while it was away")
    mock.start()
    expect(page.get_by_text("Connected again.")).to_be_visible()
    answers(page).last.get_by_role("button", name="Try again").click()
    expect(answers(page).last.locator(".markdown")).to_have_text("You said: typed while it went")
    wait_done(page)
    expect(page.locator("#composer")).to_have_value("typed while it was away")
    page.locator("#composer").press("Enter")
    expect(answers(page).last.locator(".markdown")).to_have_text("You said: typed while it was away")


def test_lost_in_the_middle_of_an_answer(page, mock):
    mock.reply = Reply("a beginning without an end", cut=True)
    send(page, "go")
    expect(answers(page).last.get_by_role("alert")).to_contain_text("before the answer was complete")
    expect(answers(page).last.locator(".markdown")).to_contain_text("a beginning")
    page.reload()
    expect(answers(page).last.locator(".markdown")).to_contain_text("a beginning")
    mock.reply = Reply(" and its end.")
    answers(page).last.get_by_role("button", name="Go on").click()
    expect(answers(page).last.locator(".markdown")).to_contain_text("and its end.")
    mock.reply = None
    answers(page).last.get_by_role("button", name="Answer again").click()
    expect(answers(page).last.locator(".markdown")).to_have_text("You said: go")


def test_killed_in_the_middle_of_an_answer(page, mock):
    mock.reply = Reply("a beginning without an end", hold=threading.Event())
    send(page, "go")
    expect(answers(page).last.locator(".markdown")).to_contain_text("a beginning")
    mock.stop()
    expect(answers(page).last.get_by_role("alert")).to_contain_text("before the answer was complete")
    expect(answers(page).last.locator(".markdown")).to_contain_text("a beginning")
    mock.start()
    expect(page.get_by_text("Connected again.")).to_be_visible()


def test_a_model_that_is_loading(context, mock):
    mock.loading = True
    page = context.page()
    expect(page.get_by_text("The model is being loaded…")).to_be_visible()
    mock.loading = False
    expect(page.get_by_text("The model is being loaded…")).not_to_be_visible()
    expect(page.locator(".model")).to_be_visible()


def test_a_key_is_asked_for_tried_and_kept(context, mock):
    mock.key = "correct-horse"
    page = context.page()
    dialog = page.get_by_role("dialog", name="This server asks for a key")
    expect(dialog).to_be_visible()
    dialog.get_by_label("API key").fill("wrong")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("did not accept")
    dialog.get_by_label("API key").fill("correct-horse")
    dialog.get_by_role("button", name="Unlock").click()
    expect(dialog).not_to_be_visible()
    expect(ask(page, "open sesame")).to_have_text("You said: open sesame")
    assert mock.headers[-1]["authorization"] == "Bearer correct-horse"
    page.reload()
    expect(page.locator(".model")).to_be_visible()
    expect(dialog).not_to_be_visible()


def test_the_servers_own_words_are_shown(page, mock):
    for status, kind, words in [
        (500, "server_error", "something broke inside"),
        (503, "unavailable_error", "no slot is free"),
        (400, "invalid_request_error", "temperature: must be a number"),
    ]:
        mock.reply = Reply(error=(status, {"code": status, "type": kind, "message": words}))
        send(page, "go")
        expect(answers(page).last.get_by_role("alert")).to_contain_text(words)
