"""Text of every sort, made the same way each time, with and without bytes that are no UTF-8."""

from __future__ import annotations

import functools
import gzip
import random
import shutil
import subprocess
import sysconfig
import unicodedata
from pathlib import Path

SENTENCES = (
    "敏捷的棕色狐狸跳过了那只懒狗，然后在树下睡着了。",
    "今天天气很好，我们去公园散步吧！2024年3月15日",
    "我們在圖書館裡讀了一整天的書，晚上才回家。",
    "吾輩は猫である。名前はまだ無い。",
    "カタカナとひらがなと漢字が混ざった文章です。",
    "東京都千代田区１丁目２番３号",
    "다람쥐 헌 쳇바퀴에 타고파. 오늘은 비가 옵니다.",
    "안녕하세요? 저는 학생입니다.",
    "Съешь ещё этих мягких французских булок, да выпей чаю.",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.",
    "نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر",
    "דג סקרן שט בים מאוכזב ולפתע מצא חברה",
    "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश",
    "นายสังฆภัณฑ์ เฮงพิทักษ์ฝั่ง ผู้เฒ่าซึ่งมีอาชีพเป็นฅนขายฃวด",
    "Zażółć gęślą jaźń; Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "Pijamalı hasta yağız şoföre çabucak güvendi. İIıi",
    "Tiếng Việt có nhiều dấu thanh điệu khác nhau.",
    "Falsches Üben von Xylophonmusik quält jeden größeren Zwerg.",
    "👩‍👩‍👧‍👦 family 🏳️‍🌈 flag 🇩🇪🇯🇵 👍🏽 thumbs 😀😃😄😁 🤷🏿‍♀️ ☃️ ♥ ∑∫√∞≠≤ ½ ⅓ ²³ Ⅷ ①②③ 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟘𝟙𝟚",
    "I'm we're you've they'll she'd it's don't I'M WE'RE YOU'VE THEY'LL 'ſ ’s “quoted” — dash… ‘single’",
    "x=1;y+=22;z*=333;assert(4444==55555)  # 666666 7777777 0x1F 1e-9 3.14159 1,000,000 12:34:56 v1.2.3-rc4",
    "def f(a,b):\r\n\treturn a+b\r\n\r\n\r\n    # comment\n\n\n\tif x:\n\t\tpass   \n",
    "CamelCaseWords HTTPServer iPhone McDonald XMLHttpRequest",
    "https://example.org/a/b?c=d&e=f#g  user@example.com /usr/local/bin C:\\Windows\\System32",
    "{\"key\": [1, 2, {\"a\": null}]}",
    "   leading and trailing spaces   ",
    "\t\ttabs\t\tand   spaces \u00a0nbsp\u2003em\u3000ideographic\u2028line\u2029para\u0085nel",
    "e\u0301 decomposed a\u0308\u0323 n\u0303 \u1e9b\u0323 \u0300 mark first",
    "<|im_start|>user\nhello<|im_end|> </s> <s> <unk> [INST] <0x41> ▁",
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n<|eot_id|><start_of_turn>user<end_of_turn><bos>",
    "<div class=\"x\">text &amp; more</div>\n<table><tr><td>1</td></tr></table>\n",
    "-----=====*****_____#####.....!!!???",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
)
RANGES = ((0, 0x80), (0x80, 0x250), (0x250, 0x600), (0x600, 0x1000), (0x1000, 0x2000), (0x2000, 0x2E80),
          (0x2E80, 0x3400), (0x3400, 0xA000), (0xA000, 0xD800), (0xE000, 0x10000), (0x10000, 0x20000),
          (0x20000, 0x32000), (0xE0000, 0xE0200), (0x10FF00, 0x110000))


def random_text(chance, size):
    """Return about `size` characters from anywhere in Unicode, in short runs of one neighbourhood."""
    parts = []
    while size > 0:
        low, high = chance.choice(RANGES)
        run = chance.choices(range(low, high), k=chance.randint(1, 9))
        parts.append("".join(map(chr, run)) + chance.choice(("", "", " ", "\n", "  ", "'", "1")))
        size -= len(run) + 1
    return "".join(parts)


@functools.cache
def prose():
    """Return clean prose: the Bible where Debian's bible-kjv is installed, and else what Python explains of itself."""
    if shutil.which("bible"):
        verses = subprocess.run(["bible", "-f", "gen1:1-rev22:21"], capture_output=True, text=True)
        if len(verses.stdout) > 4_000_000:
            return verses.stdout
    folder = Path(sysconfig.get_path("stdlib"))
    return "".join(p.read_text("utf-8") for p in sorted((folder / "pydoc_data").glob("*.py"))).replace("\\n", "\n") * 6


@functools.cache
def jargon():
    """Return the Jargon File, which has odd bytes, where Debian's jargon-text is installed, else nothing."""
    path = Path("/usr/share/doc/jargon-text/jargon.txt.gz")
    return gzip.decompress(path.read_bytes()) if path.exists() else b""


@functools.cache
def code():
    """Return Python's own sources."""
    folder = Path(sysconfig.get_path("stdlib"))
    return "".join(p.read_text("utf-8", "replace") for p in sorted(folder.glob("*.py")))


def foreign(size, seed=7):
    """Return about `size` characters of sentences in many scripts, emoji, controls and random Unicode."""
    chance, parts = random.Random(seed), []
    while size > 0:
        if chance.random() < 0.15:
            part = random_text(chance, 40)
        else:
            part = chance.choice(SENTENCES)
            if chance.random() < 0.3:
                at = chance.randrange(len(part))
                part = part[at:] + part[:at]
        parts.append(part + chance.choice((" ", "\n", "", "\n\n", "  ", "\r\n", "\t", "\0", "\x1b[0m", "\x7f")))
        size -= len(parts[-1])
    return "".join(parts)


@functools.cache
def mixed(size=5_000_000):
    """Return about `size` bytes of all sorts as valid text, well mixed."""
    share, chance = size * 2 // 5, random.Random(11)
    shares = (prose()[:share], code()[:share], foreign(share * 2 // 5))
    pieces = [text[at : at + 4000] for text in shares for at in range(0, len(text), 4000)]
    chance.shuffle(pieces)
    return "".join(pieces)


def settled(text):
    """Return text without the marks and compositions that came after Unicode 3.2: normalizers differ in their age."""
    old = unicodedata.ucd_3_2_0

    def stays(c):
        if c < "\u0300" or old.category(c) != "Cn":
            return True
        return unicodedata.category(c) != "Cn" and not unicodedata.combining(c) and not unicodedata.decomposition(c)

    keep = {c for c in set(text) if stays(c)}
    return "".join(c for c in text if c in keep)


@functools.cache
def broken(size=1_000_000):
    """Return about `size` bytes with all sorts of damage: the Jargon File, cut characters, surrogates, noise."""
    chance = random.Random(13)
    data = bytearray(jargon()[: size // 2] + mixed(size).encode()[: size // 2])
    odd = (b"\x80", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf5\x80", b"\xff\xfe",
           b"\0", b"\xf4\x90\x80\x80", b"\xe0\x80\x80", b"\xef\xbf\xbd")
    for _ in range(len(data) // 50):
        at = chance.randrange(len(data))
        data[at : at + chance.randint(0, 3)] = chance.choice(odd)
    return bytes(data)
