"""What of a streamed answer ends up on a screen: a small terminal that obeys what Live writes, and nothing else."""

from __future__ import annotations

import random
import re
import textwrap

import pytest
from rich.cells import cell_len

from llamafile.chat.live import Live
from llamafile.chat.markdown import Renderer
from llamafile.chat.page import Page

TEXT = """# A title

A paragraph with **bold**, `code` and a [link](https://example.com/a).
Its second line is long: the quick brown fox jumps over the lazy dog, and then it does so again and again.

1. one
2. two
   - inner
   - *more*
3. three

```python
def f(x):
    return "x"  # comment
```

| name | value |
|---|---:|
| 日本語 | 12 |
| b | 3456 |

> quoted

* loose

* list

Last words: 😀 שלום.
"""


class Screen:
    """Rows of text and a cursor; knows what the chat may use, and fails at anything else."""

    def __init__(self, columns=60, rows=20):
        self.columns, self.rows = columns, rows
        self.lines, self.row = [""], 0
        self.column = 0

    def size(self):
        return self.columns, self.rows

    def write(self, text):
        for part in re.split(r"(\x1b\[[0-9;?]*[A-Za-z]|\r|\n)", text):
            if part.startswith("\x1b"):
                self._obey(part)
            elif part == "\r":
                self.column = 0
            elif part == "\n":
                self.row += 1
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif part:
                self._print(part)

    def _obey(self, sequence):
        if sequence.endswith("A"):
            self.row -= int(sequence[2:-1])
            assert self.row >= max(0, len(self.lines) - self.rows), "what has left the screen is out of reach"
        elif sequence == "\x1b[J":
            assert self.column == 0
            del self.lines[self.row + 1 :]
            self.lines[self.row] = ""
        else:
            assert sequence.endswith("m") or sequence in ("\x1b[?7l", "\x1b[?7h"), sequence

    def _print(self, text):
        line = self.lines[self.row]
        assert cell_len(line) == self.column, "a line is only ever added to"
        self.lines[self.row] = line + text
        self.column += cell_len(text)
        assert self.column <= self.columns

    @property
    def text(self):
        return "\n".join(line.rstrip() for line in self.lines).rstrip("\n")


def streamed(text, seed=None, rows=20, hide=False, kind="answer", most=7):
    """The screen after a text came in pieces of random lengths up to `most`, each drawn (None: all at once)."""
    screen, chance = Screen(rows=rows), random.Random(seed)
    page = Page(Renderer(no_color=True), screen.write, screen.size, hide)
    at = 0
    while at < len(text):
        step = len(text) if seed is None else chance.randint(1, most)
        page._next_frame = 0.0
        page.write(kind, text[at : at + step])
        at += step
    page.close()
    return screen


@pytest.mark.parametrize("rows", [4, 8, 50])
@pytest.mark.parametrize("seed", range(4))
def test_streamed_as_at_once(seed, rows):
    assert streamed(TEXT, seed, rows).text == streamed(TEXT).text


def test_what_it_looks_like():
    assert streamed(TEXT).text == """\
A title

A paragraph with bold, code and a link
(https://example.com/a).
Its second line is long: the quick brown fox jumps over the
lazy dog, and then it does so again and again.

1. one
2. two
   • inner
   • more
3. three

```python
def f(x):
    return "x"  # comment
```

 name    value
 ─────────────
 日本語     12
 b        3456

▌ quoted

• loose

• list

Last words: 😀 שלום."""


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_long_code_is_whole_and_in_order(seed):
    code = "\n".join(f"line_{i} = {i}" for i in range(200))
    screen = streamed(f"Here:\n```python\n{code}\n```\nDone.", seed, rows=10, most=60)
    assert screen.text == f"Here:\n\n```python\n{code}\n```\n\nDone."


@pytest.mark.parametrize("seed", [None, 3])
def test_code_that_never_ends(seed):
    code = "\n".join(f"x{i}" for i in range(120))
    assert streamed(f"```\n{code}", seed, rows=10).text == f"```\n{code}"


@pytest.mark.parametrize("text", ["100.", "-", "1. ", "*", "#", "---", "```", "> ", "|", "&#27;[31m", "a\n-", "\\",
                                  "[x]: y"])
def test_short_answers_are_not_swallowed(text):
    shown = streamed(text).text
    assert shown or text in ("#", "> ", "[x]: y"), repr(text)
    assert "\x1b" not in shown


def test_numbers_of_a_lazy_list_go_on():
    items = "".join(f"1. item {i}\n" for i in range(1, 13))
    assert streamed(items, 5, rows=5).text == "\n".join(f"{i}. item {i}" for i in range(1, 13))


def test_html_is_text():
    assert streamed("<script>alert(1)</script>\n\n<img src=x onerror=y>").text == (
        "<script>alert(1)</script>\n\n<img src=x onerror=y>")


def test_entities_bring_no_controls_in():
    assert streamed("a&#x202E;b &#x9b;2J").text == "a<U+202E>b �2J"


def test_thoughts_stand_before_the_answer_or_nowhere():
    screen = Screen()
    for hide in (False, True):
        screen = Screen()
        page = Page(Renderer(no_color=True), screen.write, screen.size, hide)
        for kind, text in [("thought", "hm\nlet"), ("thought", " me see\n"), ("answer", "Yes.")]:
            page.write(kind, text)
        page.close()
        assert screen.text == ("Yes." if hide else "hm\nlet me see\n\nYes.")


@pytest.mark.parametrize("seed", range(5))
def test_a_resize_loses_nothing(seed):
    """The terminal folds what no longer fits, as terminals do; what is written anew takes its place."""
    words = " ".join(f"word{i}" for i in range(60))
    screen, chance = Screen(columns=80, rows=40), random.Random(seed)
    page = Page(Renderer(no_color=True), screen.write, screen.size)
    for at in range(0, len(words), 5):
        page._next_frame = 0.0
        page.write("answer", words[at : at + 5])
        if chance.random() < 0.2:
            fold(screen, chance.choice([30, 50, 80]))
    page.close()
    assert screen.text.split() == words.split()


def fold(screen, columns):
    """Fold each row at the new width and put the cursor behind the last one, where Live has it."""
    folded = []
    for line in screen.lines:
        line = line.rstrip()
        folded += [line[at : at + columns] for at in range(0, len(line), columns)] or [""]
    screen.lines, screen.columns, screen.row = folded, columns, len(folded) - 1
    screen.column = cell_len(folded[-1])


def test_live_writes_as_little_as_it_can():
    written = []
    live = Live(written.append, lambda: (80, 24))
    live.show(["one", "two"])
    live.show(["one", "two three"])
    live.show(["one", "two three"])
    live.show(["one", "two three", "four"])
    assert [re.sub(r"\x1b\[\?7[lh]", "", text) for text in written] == ["one\r\ntwo", " three", "\r\nfour"]


@pytest.mark.parametrize("narrower", [23, 40, 79, 200])
def test_no_word_is_lost_when_the_width_changes(narrower):
    """Lines that left at the top are told by their characters, however they are folded then."""
    words = [f"word{number}" for number in range(400)]

    def folded(count, columns):
        return textwrap.wrap(" ".join(words[:count]), columns)

    written: list[str] = []
    size = [80, 10]
    live = Live(written.append, lambda: (size[0], size[1]))
    for count in (1, 150, 300):
        live.show(folded(count, 79))
    size[0] = narrower
    written.clear()
    live.commit(folded(400, narrower - 1))
    repeated = re.findall(r"word\d+", "".join(written))
    assert repeated == words[-len(repeated) :]
    first = int(repeated[0].removeprefix("word"))
    in_reach = min(9, 10 // -(-79 // narrower))  # of the lines, each folded into several rows
    edge = int(re.findall(r"word(\d+)", folded(300, 79)[-in_reach])[0])
    assert edge - len(folded(300, narrower - 1)[0].split()) < first <= edge
