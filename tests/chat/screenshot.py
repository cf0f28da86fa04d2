"""`python -m tests.chat.screenshot OUT.png`: the README's picture of the chat, from a real terminal by Chromium."""

from __future__ import annotations

import html
import io
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from tests import weights
from tests.chat.tmux import Terminal
from tests.executable import built

COLUMNS, ROWS = 92, 38
PAGE = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; background: #16181d; color: #d7dae0; }}
pre {{ margin: 0; padding: 18px 22px; font: 15px/20px "DejaVu Sans Mono", monospace; }}
{styles}</style><pre>{code}</pre>"""
THEME = TerminalTheme(
    (22, 24, 29), (215, 218, 224),
    [(40, 44, 52), (224, 108, 117), (152, 195, 121), (229, 192, 123), (97, 175, 239), (198, 120, 221), (86, 182, 194),
     (200, 204, 212)],
    [(110, 118, 129), (224, 108, 117), (152, 195, 121), (229, 192, 123), (97, 175, 239), (198, 120, 221),
     (86, 182, 194), (255, 255, 255)],
)  # fmt: skip


def screen() -> str:
    """A short conversation as the terminal shows it, colours included."""
    with tempfile.TemporaryDirectory() as folder:
        words = ("-m", weights.fetch("qwen0.5b"), "--temp", "0", "--nobrowser", "-sys", "Be brief.", "-n", "200")
        alone = ("unshare", "-rn", "sh", "-c", 'ip link set lo up; exec "$@"', "sh")  # where port 8080 is free
        with Terminal(Path(folder), *alone, built.executable(), *words, columns=COLUMNS, rows=ROWS) as chat:
            chat.prompt()
            chat.say("How do I list hidden files?").wait(r"files\?\n\n(.*\n)+\n>>> Say", 120)
            chat.say("Write a Python function that reverses the words of a sentence.")
            chat.wait(r"sentence\.\n\n(.*\n)+\n>>> Say", 120)
            chat.type("/st").wait("/st")
            return chat.screen("-e")


def main(out: str) -> None:
    """Draw the screen as a PNG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(screen()), soft_wrap=True)
    code = console.export_html(theme=THEME, inline_styles=True, code_format="{code}")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "page.html")
        page.write_text(PAGE.format(styles="", code=code))
        height = 20 * (html.unescape(code).count("\n") + 1) + 36
        subprocess.run(["chromium", "--headless", "--no-sandbox", "--hide-scrollbars", f"--screenshot={out}",
                        f"--window-size=880,{height}", page.as_uri()], check=True, capture_output=True)


if __name__ == "__main__":
    main(sys.argv[1])
