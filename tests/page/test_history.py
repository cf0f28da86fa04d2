"""The chats that are kept: search, rename, delete and undo, export and import, two tabs, drafts."""

from __future__ import annotations

import json
import threading

import pytest

pytest.importorskip("playwright.sync_api")

from playwright.sync_api import expect

from .conftest import Context
from .hands import answers, ask, import_file, kept, row, said, send, until, wait_done
from .mock import Reply


def test_search_finds_titles_and_words_inside(page, mock):
    for title in ("about llamas", "about boats"):
        page.get_by_role("button", name="New chat").click()
        mock.reply = Reply(f"A long text {title}, and the secret word is {'Zebra' if 'boats' in title else 'none'}.")
        ask(page, title)
    page.keyboard.press("Control+k")
    expect(page.get_by_label("Search chats")).to_be_focused()
    page.keyboard.type("zebra")
    expect(page.locator(".row")).to_have_count(1)
    expect(page.locator(".row")).to_contain_text("about boats")
    expect(page.locator(".passage")).to_contain_text("Zebra")
    page.get_by_label("Search chats").fill("LLAMAS")
    expect(page.locator(".row")).to_have_count(1)
    page.get_by_label("Search chats").fill("nothing at all")
    expect(page.get_by_text("No chat has these words.")).to_be_visible()
    page.get_by_label("Search chats").fill("")
    expect(page.locator(".row")).to_have_count(2)


def test_rename(page, mock):
    ask(page, "old name")
    page.get_by_role("button", name="Rename old name").click()
    page.get_by_label("Name of the chat").fill("New Name")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("New Name")
    page.get_by_role("button", name="Rename New Name").click()
    page.get_by_label("Name of the chat").fill("unwanted")
    page.keyboard.press("Escape")
    page.reload()
    expect(page.get_by_role("link", name="New Name")).to_be_visible()


def test_delete_can_be_undone_and_is_final_otherwise(page, mock):
    ask(page, "precious")
    page.get_by_role("button", name="Delete precious").click()
    expect(page.locator(".row")).to_have_count(0)
    expect(page.get_by_text("What would you like to know?")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(answers(page).last.locator(".markdown")).to_have_text("You said: precious")
    page.get_by_role("button", name="Delete precious").click()
    page.get_by_role("button", name="Close this notice").click()
    until(page, lambda: kept(page) == [])
    page.reload()
    expect(page.locator(".row")).to_have_count(0)


def exported(page, name):
    with page.expect_download() as waiting:
        page.get_by_role("button", name=name).click()
    return json.loads(waiting.value.path().read_text())


def test_export_and_import_bring_everything_back(page, mock, context, browser):
    ask(page, "one")
    answers(page).last.get_by_role("button", name="Answer again").click()
    expect(answers(page).last).to_contain_text("2/2")
    wait_done(page)
    page.get_by_role("button", name="New chat").click()
    ask(page, "two")
    data = exported(page, "Export all chats")
    assert data["format"] == "llamafile-chats" and len(data["chats"]) == 2
    alone = exported(page, "Export two")
    assert [chat["title"] for chat in alone["chats"]] == ["two"]

    file = {"name": "chats.json", "mimeType": "application/json", "buffer": json.dumps(data).encode()}
    other = Context(browser, mock.address)
    page = other.page()
    import_file(page, file)
    expect(page.get_by_text("2 chats imported")).to_be_visible()
    page.get_by_role("link", name="one").click()
    expect(answers(page).last.locator(".markdown")).to_have_text("You said: one")
    expect(answers(page).last).to_contain_text("2/2")
    import_file(page, file)
    expect(page.locator(".row")).to_have_count(4)  # beside those that are there, never over them
    other.check()
    other.context.close()


def chat_file(**changes):
    message = {"id": "m1", "parent": None, "role": "user", "text": "hi", "created": 1, "status": "done"}
    chat = {"id": "c1", "title": "t", "created": 1, "updated": 1, "leaf": "m1", "messages": [{**message, **changes}]}
    return json.dumps({"format": "llamafile-chats", "version": 1, "chats": [chat]})


BAD_FILES = [
    ("no json", "not a JSON file"),
    ("[]", "the file is damaged"),
    ('{"format": "other", "chats": []}', "not exported from here"),
    ('{"format": "llamafile-chats", "version": 99, "chats": []}', "newer llamafile"),
    ('{"format": "llamafile-chats", "version": 1, "chats": [7]}', "chat 1 is damaged"),
    (chat_file(role="root"), "unknown role"),
    (chat_file(text=7), "damaged"),
    (chat_file(parent="m1"), "in a circle"),
    (chat_file(attachments=[{"kind": "image", "name": "x", "data": "javascript:1"}]), "strange image"),
]


def test_a_bad_import_is_refused_with_a_reason_and_changes_nothing(page):
    for text, words in BAD_FILES:
        import_file(page, {"name": "bad.json", "mimeType": "application/json", "buffer": text.encode()})
        expect(page.locator(".toast")).to_contain_text(words)
        expect(page.locator(".row")).to_have_count(0)
        page.get_by_role("button", name="Close this notice").click()


def test_a_draft_survives_a_reload(page, context):
    page.locator("#composer").fill("unsent words")
    page.locator('input[data-for="attach"]').set_input_files(
        {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"some notes"})
    expect(page.locator(".chip")).to_contain_text("notes.txt")
    page.reload()
    expect(page.locator("#composer")).to_have_value("unsent words")
    expect(page.locator(".chip")).to_contain_text("notes.txt")


def test_each_chat_has_its_own_draft(page, mock):
    ask(page, "first")
    page.locator("#composer").fill("for the first")
    page.get_by_role("button", name="New chat").click()
    expect(page.locator("#composer")).to_have_value("")
    page.get_by_role("link", name="first").click()
    expect(page.locator("#composer")).to_have_value("for the first")


def test_a_browser_that_keeps_nothing_is_told_apart(context):
    context.context.add_init_script("IDBFactory.prototype.open = () => { throw new DOMException('refused'); }")
    page = context.page()
    expect(page.locator(".toast")).to_contain_text("does not let the page keep chats")
    page.locator("#composer").fill("do not lose this")
    page.locator("#composer").press("Enter")
    expect(page.locator(".toast").last).to_contain_text("could not be kept")
    expect(page.locator("#composer")).to_have_value("do not lose this")
    context.complaints.clear()  # the page writes the reason to the console


def test_back_and_forward_go_between_chats(page, mock):
    ask(page, "first")
    page.get_by_role("button", name="New chat").click()
    ask(page, "second")
    page.go_back()
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("first")
    page.go_forward()
    page.go_forward()
    expect(page.get_by_role("heading", level=1)).to_have_text("second")


def test_two_tabs_write_to_one_chat_without_losing_anything(context, mock):
    one = context.page()
    ask(one, "start")
    two = context.page(one.url.removeprefix(context.address))
    expect(answers(two).last.locator(".markdown")).to_have_text("You said: start")
    hold = threading.Event()
    mock.reply = lambda body: Reply(f"re {body['messages'][-1]['content']} and its end", hold=hold)
    send(one, "from one")
    expect(said(two).last).to_contain_text("from one")  # the other tab follows
    expect(answers(one).last.locator(".markdown")).to_contain_text("re from")
    send(two, "from two")
    expect(said(two).last).to_contain_text("from two")
    hold.set()
    wait_done(one)
    wait_done(two)
    one.reload()
    two.reload()
    data = exported(two, "Export all chats")
    texts = [message["text"] for message in data["chats"][0]["messages"]]
    assert sorted(texts) == sorted([
        "start", "You said: start", "from one", "re from one and its end", "from two", "re from two and its end",
    ])
    known = {message["id"] for message in data["chats"][0]["messages"]}
    assert all(m["parent"] in known for m in data["chats"][0]["messages"] if m["parent"])


def test_many_chats_at_once_in_two_tabs(context, mock):
    one, two = context.page(), context.page()
    for number in range(3):
        for tab in (one, two):
            tab.get_by_role("button", name="New chat").click()
            send(tab, f"chat {number} of {'one' if tab is one else 'two'}")
    expect(one.locator(".row")).to_have_count(6)
    expect(two.locator(".row")).to_have_count(6)
    titles = [f"chat {number} of {tab}" for number in range(3) for tab in ("one", "two")]
    until(one, lambda: kept(one) == sorted([*titles, *(f"You said: {title}" for title in titles)]))
    wait_done(one)
    wait_done(two)
    data = exported(one, "Export all chats")
    assert sorted(chat["title"] for chat in data["chats"]) == sorted(titles)
    for chat in data["chats"]:
        assert sorted(message["text"] for message in chat["messages"]) == [f"You said: {chat['title']}", chat["title"]]


def test_a_chat_deleted_in_another_tab_ends_here_too(context, mock):
    one = context.page()
    mock.reply = Reply("an answer that nobody will see", hold=threading.Event())
    send(one, "doomed")
    expect(answers(one).last.locator(".markdown")).to_contain_text("an answer")
    two = context.page()
    row(two, "doomed").hover()
    two.get_by_role("button", name="Delete doomed").click()
    two.get_by_role("button", name="Close this notice").click()
    expect(one.get_by_text("What would you like to know?")).to_be_visible()
    until(one, lambda: mock.cancelled)
    assert mock.cancelled == 1
    two.reload()
    expect(two.locator(".row")).to_have_count(0)
