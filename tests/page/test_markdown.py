"""Markdown, code and formulas as they are drawn, while they stream and when they are read again."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("playwright.sync_api")

from playwright.sync_api import expect

from .hands import answers, ask
from .mock import Reply

MARKDOWN = """# Title

Some **bold** and `code`, H<sub>2</sub>O.

```python
def f(x):
    return x  # done
```

- one
- two

| a | b |
|---|--:|
| 1 | 2 |

$$\\boxed{\\frac{a}{b}}$$ and \\(x^2\\), $5 and $6.

A [link][1] to end.

[1]: https://example.org/
"""


def test_markdown_code_and_maths_are_drawn(page, mock):
    mock.reply = Reply(MARKDOWN, rate=400, size=3)
    text = ask(page, "show me")
    expect(text.locator("h1")).to_have_text("Title")
    expect(text.locator("strong")).to_have_text("bold")
    expect(text.locator("sub")).to_have_text("2")
    expect(text.locator("pre .hljs-keyword").first).to_have_text("def")
    expect(text.locator("li")).to_have_count(2)
    expect(text.locator("td").last).to_have_css("text-align", "right")
    expect(text.locator(".katex")).to_have_count(2)
    expect(text.locator("math")).to_have_count(2)  # for screen readers
    expect(text).to_contain_text("$5 and $6.")
    expect(text.get_by_role("link", name="link")).to_have_attribute("href", "https://example.org/")


def tags(text):
    """The elements without the white space between them, which nobody sees, once they stay as they are."""
    seen = []
    while len(seen) < 4 or len(set(seen[-4:])) > 1:
        text.page.wait_for_timeout(100)
        seen.append(re.sub(r">\s+<", "><", text.inner_html()))
    return seen[-1]


def test_what_streamed_and_what_is_read_again_look_the_same(page, mock):
    mock.reply = Reply(MARKDOWN * 3, rate=600, size=5)
    text = ask(page, "show me")
    expect(text.locator(".katex")).to_have_count(6)
    expect(text.locator(".hljs-keyword")).to_have_count(6)
    tags_streamed = tags(text)
    page.reload()
    text = answers(page).last.locator(".markdown")
    expect(text.locator(".katex")).to_have_count(6)
    expect(text.locator(".hljs-keyword")).to_have_count(6)
    assert tags(text) == tags_streamed


def test_code_and_answers_are_copied(browser, mock, context):
    context.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.page()
    mock.reply = Reply("```js\nlet x = 1;\n```\n")
    ask(page, "code")
    page.get_by_role("button", name="Copy the js code").click()
    assert page.evaluate("navigator.clipboard.readText()") == "let x = 1;"
    answers(page).last.get_by_role("button", name="Copy", exact=True).click()
    assert page.evaluate("navigator.clipboard.readText()") == "```js\nlet x = 1;\n```\n"


CODE = "".join(f'def f_{n}():\n    """Text."""\n    return {n}\n' for n in range(120))

# Markdown → what of it there shall be, and how often.
LONG = {
    "list": ("".join(f"{n}. item **{n}**\n   - inner `{n}`\n" for n in range(1, 60)), "li", 118),
    "loose list": ("".join(f"- item {n}\n\n  more of it\n\n" for n in range(30)), "li > p", 60),
    "table": ("| a | b |\n|---|--:|\n" + "".join(f"| **{n}** | {n} |\n" for n in range(60)), "tr", 61),
    "code": (f"```python\n{CODE}```\n", ".hljs-keyword", 240),
    "mixed": ("".join(f"- a{n}\n- b\n\n```js\nlet a = {n};\n```\n\n> q{n}\n\ntext {n}\n" for n in range(20)), "li", 40),
}


@pytest.mark.parametrize("kind", LONG)
def test_what_grows_piece_by_piece_ends_as_if_drawn_at_once(page, mock, kind):
    source, selector, count = LONG[kind]
    mock.reply = Reply(f"Here it is:\n\n{source}\nThe end.", rate=2000, size=7)
    text = ask(page, kind)
    expect(text.locator(selector)).to_have_count(count)
    expect(text.locator("p").last).to_have_text("The end.")
    if kind == "code":
        assert text.locator("code").text_content() == CODE.rstrip("\n")
    grown = tags(text)
    page.reload()
    text = answers(page).last.locator(".markdown")
    expect(text.locator(selector)).to_have_count(count)
    assert tags(text) == grown
