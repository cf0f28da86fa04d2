"""Hundreds of messages, two hundred tokens a second: the page's main thread stays free; and it is small."""

from __future__ import annotations

import json
import time

import pytest

pytest.importorskip("playwright.sync_api")

from playwright.sync_api import expect

from llamafile import page as accessor

from .hands import answers, import_file, send, wait_done
from .mock import Reply

SECTION = """## Part {n}

A paragraph with **bold** words, `code`, a [link](https://example.org/{n}) and a formula $x_{n}^2 + y^2$ in it. It goes
on for a while, as answers do, so that there is some text to break into lines and to lay out.

- one thing that matters
- another one, with `more code`
  1. nested
  2. items

```python
def part_{n}(values: list[int]) -> int:
    \"\"\"Add up what is odd.\"\"\"
    return sum(value for value in values if value % 2)  # {n}
```

| name | value |
|------|------:|
| part | {n} |

"""
MESSAGES = 500


def long_chat():
    """A chat of 500 messages, the size of many weeks."""
    messages = []
    for number in range(MESSAGES):
        role, text = "user", f"Question {number}?"
        if number % 2:
            role, text = "assistant", SECTION.replace("{n}", str(number))
        messages.append({"id": f"m{number}", "parent": f"m{number - 1}" if number else None, "role": role,
                         "text": text, "created": number, "status": "done"})
    chat = {"id": "long", "title": "long chat", "created": 1, "updated": 1, "leaf": messages[-1]["id"],
            "messages": messages, "system": None}
    data = json.dumps({"format": "llamafile-chats", "version": 1, "chats": [chat]})
    return {"name": "long.json", "mimeType": "application/json", "buffer": data.encode()}


# Frames as they are drawn, and tasks longer than 50 ms as the browser itself reports them.
MEASURE = """
window.frames = []; window.long = [];
new PerformanceObserver((list) => { for (const e of list.getEntries()) window.long.push(e.duration); })
    .observe({ type: "longtask" });
let last = performance.now();
const tick = (now) => { window.frames.push(now - last); last = now; requestAnimationFrame(tick); };
requestAnimationFrame(tick);
"""


def busy(client):
    """Seconds that the page's main thread has worked so far: all, and in scripts, style and layout."""
    values = {one["name"]: one["value"] for one in client.send("Performance.getMetrics")["metrics"]}
    return values["TaskDuration"], values["ScriptDuration"] + values["LayoutDuration"] + values["RecalcStyleDuration"]


def test_streaming_into_a_long_chat_leaves_the_main_thread_free(page, mock):
    import_file(page, long_chat())
    page.get_by_role("link", name="long chat").click()
    expect(answers(page)).to_have_count(MESSAGES // 2)
    page.wait_for_timeout(500)
    client = page.context.new_cdp_session(page)
    client.send("Performance.enable", {"timeDomain": "threadTicks"})  # of the processor, not of the clock
    mock.reply = Reply("".join(SECTION.replace("{n}", str(n)) for n in range(5)), rate=200, size=4)
    send(page, "go on")
    expect(answers(page)).to_have_count(MESSAGES // 2 + 1)
    page.evaluate(MEASURE)
    before, began = busy(client), time.monotonic()
    page.wait_for_timeout(2500)
    after, took = busy(client), time.monotonic() - began
    frames, long = page.evaluate("[window.frames, window.long]")
    wait_done(page)
    whole, ours = (b - a for a, b in zip(before, after))
    frames.sort()
    print(f"\nmain thread {whole / took:.0%}, ours {ours / took:.0%}, {len(frames) / took:.0f} frames a second, "
          f"95 % within {frames[int(len(frames) * 0.95)]:.0f} ms, long tasks {[round(one) for one in long]}")
    assert ours / took < 0.35  # of one thread; this is what the page can do something about
    assert sum(long) < 0.5 * took * 1000  # by the clock, of which a busy machine takes its part
    expect(answers(page).last.locator(".code-box")).to_have_count(5)


def test_a_long_chat_opens_at_its_end_at_once(page, mock):
    import_file(page, long_chat())
    expect(page.get_by_role("link", name="long chat")).to_be_visible()
    took = page.evaluate("""async () => {
        const began = performance.now();
        document.querySelector(".row a").click();
        while (document.querySelectorAll(".answered").length < 250) await new Promise(requestAnimationFrame);
        await new Promise(requestAnimationFrame);
        return performance.now() - began;
    }""")
    print(f"\n500 messages shown after {took:.0f} ms")
    assert took < 1500
    expect(answers(page).last.locator(".code-box")).to_be_in_viewport()
    gap = "[document.querySelector('.conversation')].map((e) => e.scrollHeight - e.scrollTop - e.clientHeight)[0]"
    page.wait_for_timeout(300)
    assert page.evaluate(gap) < 2


def test_first_paint(context):
    """Once is enough to show it: other work on the machine makes a load slower, nothing makes it faster."""
    page = context.page()
    times = [1e9]
    while times[-1] >= 1000 and len(times) < 10:
        page.reload()
        expect(page.locator(".model")).to_be_visible()
        times.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
    print(f"\nfirst contentful paint after {[round(one) for one in times[1:]]} ms")
    assert min(times) < 1000  # 150 on an idle machine


def test_the_page_is_small(built):
    carried = accessor.stored()
    assert sum(map(len, carried.values())) < 600_000
    first = ("index.html.gz", "page.js.gz", "page.css.gz", "theme.js.gz")
    assert sum(len(carried[name]) for name in first) < 100_000  # before the first message
