"""What a user does with the page, and what a user sees of it."""

from __future__ import annotations

from playwright.sync_api import expect


def send(tab, text):
    """Write a message and press Enter."""
    box = tab.locator("#composer")
    box.fill(text)
    box.press("Enter")


def answers(tab):
    return tab.get_by_role("article", name="Answer")


def said(tab):
    return tab.get_by_role("article", name="You")


def wait_done(tab, count=None):
    """Wait until the last answer is whole; count says how many there shall be on screen."""
    if count is not None:
        expect(answers(tab)).to_have_count(count)
    expect(answers(tab).last.get_by_role("button", name="Answer again")).to_be_visible()


def ask(tab, text):
    """Send a message, and wait for its answer; returns the answer's text element."""
    before = answers(tab).count()
    send(tab, text)
    wait_done(tab, before + 1)
    return answers(tab).last.locator(".markdown")


def row(tab, title):
    """A chat in the list."""
    return tab.locator(".row", has=tab.get_by_role("link", name=title))


def import_file(tab, path_or_file):
    tab.locator('input[data-for="import"]').set_input_files(path_or_file)
