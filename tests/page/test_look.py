"""The page on a phone, in the dark, by keyboard alone, and for a screen reader: axe finds nothing serious."""

from __future__ import annotations

import pytest

pytest.importorskip("playwright.sync_api")

from playwright.sync_api import expect

from llamafile.page import build

from .conftest import Context
from .hands import answers, ask, send, still, wait_done
from .mock import Reply
from .test_markdown import MARKDOWN

PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}


@pytest.fixture
def phone(browser, mock):
    one = Context(browser, mock.address, **PHONE)
    yield one.page()
    one.check()
    one.context.close()


def test_a_phone(phone, mock):
    mock.reply = Reply(MARKDOWN + "\n\n```\n" + "wide " * 60 + "\n```\n" + "unbroken" * 40)
    expect(phone.get_by_role("navigation", name="Chats")).not_to_be_visible()
    phone.locator("#composer").fill("line one")
    phone.locator("#composer").press("Enter")  # on a phone the key makes a new line
    assert phone.locator("#composer").input_value() == "line one\n"
    phone.get_by_role("button", name="Send", exact=True).tap()
    wait_done(phone, 1)
    assert phone.evaluate("document.documentElement.scrollWidth") <= 360
    assert phone.evaluate("document.querySelector('.conversation').scrollWidth") <= 360
    small = phone.evaluate("""() => [...document.querySelectorAll("button, a, input")]
        .filter((e) => e.checkVisibility({ visibilityProperty: true }) && !e.closest(".markdown"))
        .map((e) => [e.getAttribute("aria-label") ?? e.textContent, e.getBoundingClientRect()])
        .filter(([, box]) => box.width && box.right > 0 && box.top >= 0 && Math.min(box.width, box.height) < 24)
        .map(([name]) => name)""")
    assert small == []  # WCAG 2.2, target size
    phone.get_by_role("button", name="List of chats").tap()
    expect(phone.get_by_role("link", name="line one")).to_be_visible()
    phone.get_by_role("button", name="New chat").tap()
    expect(phone.get_by_role("navigation", name="Chats")).not_to_be_visible()
    expect(phone.get_by_text("What would you like to know?")).to_be_visible()


def test_dark_follows_the_system_and_the_switch(browser, mock):
    context = Context(browser, mock.address, color_scheme="dark")
    page = context.page()
    paper = "getComputedStyle(document.body).backgroundColor"
    expect(page.locator(".model")).to_be_visible()
    dark = page.evaluate(paper)
    assert max(int(part) for part in dark[4:-1].split(",")) < 60
    page.get_by_role("button", name="Colours: as the system").click()
    light = page.evaluate(paper)
    assert min(int(part) for part in light[4:-1].split(",")) > 200
    page.reload()
    assert page.evaluate(paper) == light  # kept
    page.get_by_role("button", name="Colours: light").click()
    assert page.evaluate(paper) == dark
    context.check()
    context.context.close()


def focused(page):
    return page.evaluate("""() => {
        const at = document.activeElement;
        const outlined = (element) => element && getComputedStyle(element).outlineStyle !== "none";
        const framed = at.closest(".composer")?.matches(":focus-within"); // its border changes colour
        return {
            name: at.getAttribute("aria-label") || at.placeholder || at.textContent.trim(),
            visible: outlined(at) || outlined(at.closest(".search")) || framed === true,
        };
    }""")


def walk(page, steps):
    """Names of what Tab comes to, all of it with a visible focus."""
    names = []
    for _ in range(steps):
        page.keyboard.press("Tab")
        at = focused(page)
        assert at["visible"], f"no visible focus on {at['name']}"
        names.append(at["name"])
    return names


def test_the_keyboard_alone_is_enough(page, mock):
    expect(page.locator("#composer")).to_be_focused()
    page.keyboard.type("by keyboard")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two lines")
    page.keyboard.press("Enter")
    wait_done(page, 1)
    assert mock.requests[-1]["messages"][0]["content"] == "by keyboard\ntwo lines"
    page.keyboard.press("ArrowUp")
    expect(page.get_by_label("Edit your message")).to_be_focused()
    page.keyboard.press("Control+a")
    page.keyboard.type("edited")
    page.keyboard.press("Enter")
    expect(answers(page).last.locator(".markdown")).to_have_text("You said: edited")
    wait_done(page)
    page.keyboard.press("Control+Shift+O")
    expect(page.get_by_text("What would you like to know?")).to_be_visible()
    expect(page.locator("#composer")).to_be_focused()
    page.keyboard.press("Control+/")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator("#composer")).to_be_focused()
    page.keyboard.press("Control+b")
    expect(page.get_by_role("navigation", name="Chats")).not_to_be_visible()
    page.keyboard.press("Control+b")
    expect(page.get_by_role("navigation", name="Chats")).to_be_visible()
    page.evaluate("document.activeElement.blur()")
    page.reload()
    expect(page.locator("#composer")).to_be_focused()
    page.keyboard.press("Control+k")
    expect(page.get_by_label("Search chats")).to_be_focused()
    names = walk(page, 6)
    assert names[:4] == ["by keyboard", "Rename by keyboard", "Export by keyboard", "Delete by keyboard"]
    page.keyboard.press("Control+k")
    expect(page.get_by_label("Search chats")).to_be_focused()
    walk(page, 1)
    page.keyboard.press("Enter")  # opens the chat whose link has the focus
    expect(answers(page).last.locator(".markdown")).to_have_text("You said: edited")


def test_the_skip_link_comes_first(page):
    page.evaluate("document.activeElement.blur()")
    page.reload()
    page.evaluate("document.activeElement.blur(); document.body.focus()")
    page.keyboard.press("Tab")
    if focused(page)["name"] != "Go to the message box":  # the box had the focus: go round
        page.locator(".skip").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#composer")).to_be_focused()


def test_a_screen_reader_is_told(page, mock):
    mock.reply = Reply("The answer to read out.")
    send(page, "speak")
    expect(page.locator(".page > [role=status]").last).to_contain_text("Answer complete. The answer to read out.")
    expect(answers(page).last).to_have_attribute("aria-busy", "false")


AXE = """axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] })
    .then(({ violations, passes }) => {
        const where = (node) => node.html.slice(0, 160) + node.failureSummary.slice(0, 200);
        const bad = violations.map((one) => `${one.impact} ${one.id}: ${one.nodes.map(where).join(" | ")}`);
        return { passes: passes.length, bad };
    })"""


class Auditor:
    """axe in a world of its own in a page, past the policy; a call gives what it finds wrong, of any weight."""

    def __init__(self, page):
        self.page = page
        self.client = page.context.new_cdp_session(page)
        self.client.send("Page.enable")
        frame = self.client.send("Page.getFrameTree")["frameTree"]["frame"]["id"]
        world = self.client.send("Page.createIsolatedWorld", {"frameId": frame, "worldName": "axe"})
        self.where = {"contextId": world["executionContextId"]}
        axe = (build.WORK / "node_modules" / "axe-core" / "axe.min.js").read_text()
        self.client.send("Runtime.evaluate", {"expression": axe, **self.where})

    def __call__(self):
        still(self.page)  # what is half transparent has no colours to judge
        asked = {"expression": AXE, "awaitPromise": True, "returnByValue": True, **self.where}
        found = self.client.send("Runtime.evaluate", asked)["result"]["value"]
        assert found["passes"] > 10
        return found["bad"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser, mock, scheme):
    context = Context(browser, mock.address, color_scheme=scheme)
    page = context.page()
    expect(page.locator(".model")).to_be_visible()
    audit = Auditor(page)
    bad = {"empty": audit()}
    mock.reply = Reply(MARKDOWN, reasoning="hm", tools=[{"id": "1", "name": "weather", "arguments": "{}"}])
    ask(page, "everything")
    expect(page.locator(".hljs-keyword").first).to_be_visible()
    answers(page).last.locator("summary").first.click()
    bad["chat"] = audit()
    mock.reply = Reply(error=(500, {"code": 500, "message": "broken"}))
    send(page, "break")
    expect(answers(page).last.get_by_role("alert")).to_be_visible()
    page.get_by_role("button", name="Export everything").hover()
    bad["failure"] = audit()
    page.keyboard.press("ArrowUp")
    bad["editing"] = audit()
    page.keyboard.press("Escape")
    page.keyboard.press("Control+,")
    page.get_by_label("Temperature").fill("99")
    bad["settings"] = audit()
    page.keyboard.press("Escape")
    page.keyboard.press("Control+/")
    bad["shortcuts"] = audit()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Delete everything").click()
    bad["toast"] = audit()
    assert {place: found for place, found in bad.items() if found} == {}
    context.check()
    context.context.close()


def test_axe_finds_nothing_serious_on_a_phone(phone, mock):
    mock.reply = Reply(MARKDOWN)
    phone.locator("#composer").fill("hello")
    phone.get_by_role("button", name="Send", exact=True).tap()
    wait_done(phone, 1)
    audit = Auditor(phone)
    bad = audit()
    phone.get_by_role("button", name="List of chats").tap()
    expect(phone.get_by_role("link", name="hello")).to_be_visible()
    assert bad + audit() == []
