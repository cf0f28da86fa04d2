"""What a user does with the page, and what a user sees of it."""

from __future__ import annotations

from playwright.sync_api import expect

from .conftest import PATIENCE


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


def until(tab, condition):
    """Wait until a condition holds that no locator can tell."""
    for _ in range(PATIENCE // 50):
        if condition():
            return
        tab.wait_for_timeout(50)
    raise AssertionError("it never came about")


def kept(tab):
    """The texts of all messages as the browser's own store has them, in order."""
    return sorted(tab.evaluate("""() => new Promise((done) => {
        const asked = indexedDB.open("llamafile");
        asked.onsuccess = () => {
            const all = asked.result.transaction("messages").objectStore("messages").getAll();
            all.onsuccess = () => { asked.result.close(); done(all.result.map((one) => one.text)); };
        };
    })"""))


def still(tab):
    """Wait until nothing fades in or out any more."""
    until(tab, lambda: tab.evaluate("""() => document.getAnimations()
        .every((one) => one.playState !== "running" || one.effect.getComputedTiming().iterations === Infinity)"""))
