"""A turn from the first key to the last token: send, stream, stop, edit, branch, answer again."""

from __future__ import annotations

import re
import threading

import pytest

pytest.importorskip("playwright.sync_api")

from playwright.sync_api import expect

from .hands import answers, ask, kept, said, send, until, wait_done
from .mock import Reply


def test_send_shows_the_message_and_its_answer(page, mock):
    assert page.title() == "llamafile"
    expect(page.locator(".model")).to_have_text("Mock-1B-Instruct.Q4_K_M")
    expect(ask(page, "Hello there")).to_have_text("You said: Hello there")
    expect(said(page).last).to_contain_text("Hello there")
    assert mock.requests[0]["messages"] == [{"role": "user", "content": "Hello there"}]
    assert mock.requests[0]["stream"] is True
    expect(page).to_have_title("Hello there – llamafile")
    ask(page, "And again")
    assert [turn["role"] for turn in mock.requests[1]["messages"]] == ["user", "assistant", "user"]
    assert mock.requests[1]["messages"][1]["content"] == "You said: Hello there"


def test_a_suggestion_is_sent_by_one_click(page, mock):
    page.get_by_role("button", name="Explain something").click()
    wait_done(page, 1)
    assert "sky is blue" in mock.requests[0]["messages"][0]["content"]


def test_text_appears_while_it_streams(page, mock):
    hold = threading.Event()
    mock.reply = Reply("one two three four five six seven eight", hold=hold)
    send(page, "count")
    text = answers(page).last.locator(".markdown")
    expect(text).to_contain_text("one two three")
    assert "eight" not in text.inner_text()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    hold.set()
    wait_done(page)
    expect(text).to_have_text("one two three four five six seven eight")
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()


@pytest.mark.parametrize("how", ["button", "Escape"])
def test_stop_keeps_what_was_written_and_tells_the_server(page, mock, how):
    mock.reply = Reply("kept words and lost ones", hold=threading.Event())
    send(page, "go on")
    expect(answers(page).last.locator(".markdown")).to_contain_text("kept words")
    if how == "button":
        page.get_by_role("button", name="Stop").click()
    else:
        page.keyboard.press("Escape")
    expect(answers(page).last.get_by_text("Stopped.")).to_be_visible()
    assert "lost" not in answers(page).last.inner_text()
    until(page, lambda: mock.cancelled)
    assert mock.cancelled == 1
    mock.reply = None
    expect(ask(page, "again")).to_have_text("You said: again")


def test_reload_shows_the_same_chat(page, mock):
    ask(page, "Remember me")
    address = page.url
    page.reload()
    expect(answers(page).last.locator(".markdown")).to_have_text("You said: Remember me")
    assert page.url == address
    ask(page, "Go on")
    assert len(mock.requests[-1]["messages"]) == 3


def test_reload_in_the_middle_keeps_the_part_that_was_there(page, mock):
    mock.reply = Reply("first half of it, second half of it", hold=threading.Event())
    send(page, "long one")
    expect(answers(page).last.locator(".markdown")).to_contain_text("first half")
    until(page, lambda: any("first half" in text for text in kept(page)))
    page.reload()
    expect(answers(page).last.locator(".markdown")).to_contain_text("first half")
    expect(answers(page).last.get_by_text("Stopped.")).to_be_visible()


def test_edit_makes_a_branch_and_the_switcher_goes_between_them(page, mock):
    ask(page, "first question")
    ask(page, "second question")
    said(page).first.hover()
    said(page).first.get_by_role("button", name="Edit").click()
    box = page.get_by_label("Edit your message")
    expect(box).to_have_value("first question")
    expect(box).to_be_focused()
    box.fill("changed question")
    box.press("Enter")
    wait_done(page, 1)
    expect(answers(page).last.locator(".markdown")).to_have_text("You said: changed question")
    assert mock.requests[-1]["messages"] == [{"role": "user", "content": "changed question"}]
    expect(said(page).first).to_contain_text("2/2")
    said(page).first.get_by_role("button", name="Earlier version").click()
    expect(said(page)).to_have_count(2)  # the old branch with all that followed
    expect(said(page).first).to_contain_text("1/2")
    expect(answers(page).last.locator(".markdown")).to_have_text("You said: second question")
    page.reload()
    expect(answers(page).last.locator(".markdown")).to_have_text("You said: second question")
    said(page).first.hover()
    said(page).first.get_by_role("button", name="Later version").click()
    expect(answers(page).last.locator(".markdown")).to_have_text("You said: changed question")


def test_an_edit_can_be_given_up(page, mock):
    ask(page, "as it was")
    said(page).first.hover()
    said(page).first.get_by_role("button", name="Edit").click()
    page.get_by_label("Edit your message").fill("never mind")
    page.keyboard.press("Escape")
    expect(said(page).first).to_contain_text("as it was")
    assert len(mock.requests) == 1


def test_answer_again_keeps_every_version(page, mock):
    mock.reply = Reply("version one")
    ask(page, "give me versions")
    for number in ("two", "three"):
        mock.reply = Reply(f"version {number}")
        answers(page).last.get_by_role("button", name="Answer again").click()
        expect(answers(page).last.locator(".markdown")).to_have_text(f"version {number}")
        wait_done(page, 1)
    expect(answers(page).last).to_contain_text("3/3")
    answers(page).last.get_by_role("button", name="Earlier version").click()
    expect(answers(page).last).to_contain_text("2/3")
    expect(answers(page).last.locator(".markdown")).to_have_text("version two")
    ask(page, "on from two")
    assert mock.requests[-1]["messages"][1]["content"] == "version two"


def test_thoughts_are_folded_and_not_sent_back(page, mock):
    mock.reply = Reply("The answer.", reasoning="Let me think about it.")
    ask(page, "think")
    fold = answers(page).last.locator(".reasoning")
    # A thought that took no time has none to tell.
    expect(fold.get_by_text(re.compile("Thought for|Thoughts"))).to_be_visible()
    expect(fold.get_by_text("Let me think")).not_to_be_visible()
    fold.locator("summary").click()
    expect(fold.get_by_text("Let me think")).to_be_visible()
    ask(page, "and then")
    assert mock.requests[-1]["messages"][1] == {"role": "assistant", "content": "The answer."}


def test_tool_calls_are_shown_and_answered(page, mock):
    call = {"id": "call_1", "name": "weather", "arguments": '{"city": "Lima"}'}
    mock.reply = lambda body: Reply("Sunny.") if body["messages"][-1]["role"] == "tool" else Reply(tools=[call])
    send(page, "weather in Lima?")
    part = page.get_by_role("region", name="Tool call weather")
    expect(part.locator("pre")).to_contain_text('"city": "Lima"')
    submit = page.get_by_role("button", name="Send to the model")
    expect(submit).to_be_disabled()
    part.get_by_label("What the tool answered").fill("22 degrees")
    submit.click()
    expect(answers(page).last.locator(".markdown")).to_have_text("Sunny.")
    turns = mock.requests[-1]["messages"]
    assert turns[1]["tool_calls"] == [
        {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Lima"}'}}
    ]
    assert turns[2] == {"role": "tool", "tool_call_id": "call_1", "content": "22 degrees"}


def test_progress_speed_and_context_are_shown(page, mock):
    hold = threading.Event()
    read = threading.Event()
    mock.reply = Reply("done " * 40, progress=[0.25, 0.5], read=read, hold=hold, rate=30)
    send(page, "a long prompt")
    expect(page.get_by_text("Reading… 50%")).to_be_visible()
    read.set()
    expect(page.locator(".rate")).to_be_visible()
    hold.set()
    wait_done(page)
    expect(answers(page).last.locator(".speed")).to_contain_text("tokens/s")
    expect(page.locator(".context")).to_contain_text("170 of 8.2k")  # 100 cached, 20 read, 50 written


def test_an_answer_that_ends_at_the_limit_says_so(page, mock):
    mock.reply = Reply("half a sent", finish="length")
    ask(page, "go")
    expect(answers(page).last.get_by_text("limit of its length")).to_be_visible()


def test_an_answer_that_ended_early_goes_on(page, mock):
    mock.reply = Reply("One, two,", finish="length")
    text = ask(page, "count")
    mock.reply = Reply(" three.\n\nDone.", hold=(hold := threading.Event()))
    answers(page).last.get_by_role("button", name="Go on").click()
    expect(text).to_contain_text("One, two, three")
    hold.set()
    wait_done(page, 1)
    expect(text.locator("p")).to_have_text(["One, two, three.", "Done."])
    assert mock.requests[-1]["messages"][-1] == {"role": "assistant", "content": "One, two,"}
    page.reload()
    expect(answers(page).last.locator("p").first).to_have_text("One, two, three.")
    expect(answers(page).last.get_by_role("button", name="Go on")).to_have_count(0)


def test_a_chat_too_long_for_the_context_is_explained(page, mock):
    mock.reply = Reply(error=(400, {
        "code": 400, "type": "exceed_context_size_error", "message": "x", "n_prompt_tokens": 9000, "n_ctx": 8192,
    }))
    send(page, "too much")
    alert = answers(page).last.get_by_role("alert")
    expect(alert).to_contain_text("9000 of 8192 tokens")
    mock.reply = None
    alert.get_by_role("button", name="Try again").click()
    expect(answers(page).last.locator(".markdown")).to_have_text("You said: too much")


def test_an_answer_goes_on_while_another_chat_is_open(page, mock):
    hold = threading.Event()
    mock.reply = Reply("slow answer that ends", hold=hold)
    send(page, "slow chat")
    expect(answers(page).last.locator(".markdown")).to_contain_text("slow")
    page.get_by_role("button", name="New chat").click()
    expect(page.get_by_role("img", name="An answer is being written")).to_be_visible()
    mock.reply = Reply("quick answer")
    ask(page, "quick chat")
    hold.set()
    page.get_by_role("link", name="slow chat").click()
    expect(answers(page).last.locator(".markdown")).to_have_text("slow answer that ends")
    wait_done(page, 1)
