"""Settings reach the server; files and images are added by button, paste and drop."""

from __future__ import annotations

import base64
import json
import struct
import zlib

import pytest

pytest.importorskip("playwright.sync_api")

from playwright.sync_api import expect

from .hands import ask, send, wait_done
from .mock import Reply


def png(width=3, height=2):
    """A small red image."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + b"\xff\0\0" * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_settings_are_sent_and_kept(page, mock):
    page.keyboard.press("Control+,")
    dialog = page.get_by_role("dialog", name="Settings")
    expect(dialog.get_by_label("Temperature")).to_have_attribute("placeholder", "0.8")  # the server's own
    dialog.get_by_label("In all chats").fill("Be brief.")
    dialog.get_by_label("Temperature").fill("0.25")
    dialog.get_by_label("Longest answer").fill("64")
    dialog.get_by_label("Seed").fill("7")
    dialog.get_by_label("Thinking before it answers").select_option("off")
    dialog.get_by_role("button", name="Done").click()
    ask(page, "hi")
    body = mock.requests[-1]
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (body["temperature"], body["max_tokens"], body["seed"]) == (0.25, 64, 7)
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert "top_k" not in body  # left to the server
    page.reload()
    ask(page, "hi again")
    assert mock.requests[-1]["temperature"] == 0.25
    page.keyboard.press("Control+,")
    dialog.get_by_role("button", name="Reset settings").click()
    dialog.get_by_role("button", name="Done").click()
    ask(page, "as before")
    assert "temperature" not in mock.requests[-1]
    assert mock.requests[-1]["messages"][0]["role"] == "user"


def test_instructions_of_one_chat(page, mock):
    ask(page, "hi")
    page.keyboard.press("Control+,")
    page.get_by_label("In this chat, instead").fill("Speak like a pirate.")
    page.get_by_role("button", name="Done").click()
    ask(page, "hi again")
    assert mock.requests[-1]["messages"][0] == {"role": "system", "content": "Speak like a pirate."}
    page.get_by_role("button", name="New chat").click()
    ask(page, "elsewhere")
    assert mock.requests[-1]["messages"][0]["role"] == "user"


def test_a_number_out_of_range_is_refused_beside_its_field(page, mock):
    page.keyboard.press("Control+,")
    for label, text in [("Temperature", "-1"), ("Temperature", "9"), ("Top K", "1.5"), ("Top P", "2")]:
        field = page.get_by_label(label)
        field.fill(text)
        expect(field).to_have_attribute("aria-invalid", "true")
    page.get_by_role("button", name="Done").click()
    ask(page, "hi")
    assert not {"temperature", "top_k", "top_p"} & set(mock.requests[-1])


def test_tools_must_be_a_json_list(page, mock):
    page.keyboard.press("Control+,")
    field = page.get_by_label("Tools the model may ask for")
    field.fill("{")
    expect(page.get_by_text("This is not JSON yet.")).to_be_visible()
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
    field.fill(json.dumps(tools))
    page.get_by_role("button", name="Done").click()
    ask(page, "hi")
    assert mock.requests[-1]["tools"] == tools


def test_a_text_file_goes_with_the_message(page, mock):
    page.locator('input[data-for="attach"]').set_input_files([
        {"name": "a.py", "mimeType": "text/x-python", "buffer": "print('ä')\n```\n".encode()},
        {"name": "b.txt", "mimeType": "text/plain", "buffer": b"unwanted"},
    ])
    page.get_by_role("button", name="Remove b.txt").click()
    expect(page.locator(".chip")).to_have_count(1)
    ask(page, "explain")
    assert mock.requests[-1]["messages"][-1]["content"] == "File a.py:\n````\nprint('ä')\n```\n````\n\nexplain"
    expect(page.locator(".chip")).to_have_count(0)
    expect(page.locator("details.file")).to_contain_text("a.py")


BAD_FILES = [
    ("x.bin", b"\x00\x01\xff\xfe", "is not a text file"),
    ("nul.txt", b"a\0b", "is not a text file"),
    ("big.txt", b"a" * (3 << 20), "larger than 2 MB"),
    ("photo.png", png(), "cannot see images"),
]


def test_files_that_cannot_be_used_are_named(page, mock):
    for name, data, words in BAD_FILES:
        kind = "image/png" if name.endswith("png") else "application/octet-stream"
        page.locator('input[data-for="attach"]').set_input_files({"name": name, "mimeType": kind, "buffer": data})
        expect(page.locator(".toast")).to_contain_text(f"{name} {words}" if "text file" in words else words)
        expect(page.locator(".chip")).to_have_count(0)
        page.get_by_role("button", name="Close this notice").click()


def test_the_image_button_is_there_for_a_model_that_sees(context, mock):
    page = context.page()
    expect(page.locator(".model")).to_be_visible()
    expect(page.get_by_role("button", name="Add images")).to_have_count(0)
    mock.vision = True
    page.reload()
    expect(page.get_by_role("button", name="Add images")).to_be_visible()
    page.locator('input[data-for="image"]').set_input_files(
        {"name": "red.png", "mimeType": "image/png", "buffer": png()})
    expect(page.locator(".chip img")).to_be_visible()
    ask(page, "what is it")
    parts = mock.requests[-1]["messages"][-1]["content"]
    assert parts[0]["type"] == "image_url"
    address = parts[0]["image_url"]["url"]
    assert base64.b64decode(address.removeprefix("data:image/png;base64,")) == png()
    assert parts[1] == {"type": "text", "text": "what is it"}
    page.reload()
    expect(page.get_by_role("img", name="red.png")).to_be_visible()


def test_a_large_image_is_made_smaller_and_a_broken_one_refused(page, mock):
    mock.vision = True
    page.reload()
    expect(page.get_by_role("button", name="Add images")).to_be_visible()
    page.locator('input[data-for="image"]').set_input_files(
        {"name": "wide.png", "mimeType": "image/png", "buffer": png(4096, 16)})
    expect(page.locator(".chip")).to_be_visible()
    ask(page, "look")
    data = base64.b64decode(mock.requests[-1]["messages"][-1]["content"][0]["image_url"]["url"].split(",")[1])
    assert struct.unpack(">II", data[16:24]) == (2048, 8)
    page.locator('input[data-for="image"]').set_input_files(
        {"name": "broken.png", "mimeType": "image/png", "buffer": b"no image"})
    expect(page.locator(".toast")).to_contain_text("broken.png: the image cannot be read")


TRANSFER = """([target, kind, name, type, text]) => {
    const data = new DataTransfer();
    data.items.add(new File([text], name, { type }));
    const Kind = kind === "paste" ? ClipboardEvent : DragEvent;
    const more = kind === "paste" ? { clipboardData: data } : { dataTransfer: data };
    document.querySelector(target).dispatchEvent(new Kind(kind, { bubbles: true, cancelable: true, ...more }));
}"""


def test_paste_and_drop(page, mock):
    page.evaluate(TRANSFER, ["#composer", "paste", "pasted.txt", "text/plain", "from the clipboard"])
    expect(page.locator(".chip")).to_contain_text("pasted.txt")
    page.evaluate(TRANSFER, [".main", "dragover", "dropped.md", "text/markdown", "x"])
    expect(page.get_by_text("Drop files to add them")).to_be_visible()
    page.evaluate(TRANSFER, [".main", "drop", "dropped.md", "text/markdown", "from the desktop"])
    expect(page.get_by_text("Drop files to add them")).not_to_be_visible()
    expect(page.locator(".chip")).to_have_count(2)
    send(page, "both")
    wait_done(page, 1)
    content = mock.requests[-1]["messages"][-1]["content"]
    assert "from the clipboard" in content and "from the desktop" in content


def test_a_long_draft_is_counted_against_the_context(page, mock):
    mock.reply = Reply("ok")
    page.locator("#composer").fill("word " * 1000)
    expect(page.locator(".context")).to_contain_text("1.3k of 8.2k")
