"""A terminal to test in: one tmux server for each, its screen as text, keys and pastes as a user's."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import subprocess
import time
from pathlib import Path

_numbers = itertools.count()
ENDED = "ended with status"
ENTER, CTRL_C, CTRL_D, CTRL_J, TAB, UP, DOWN = "Enter", "C-c", "C-d", "C-j", "Tab", "Up", "Down"
SHELL = "/bin/sh"
PATIENCE = 120.0  # seconds, which only a failure takes: the machine may do other things too


class Terminal:
    """A program in a terminal of some size; a with block, which ends both."""

    def __init__(self, folder: Path, *words: object, columns: int = 90, rows: int = 30, term: str = "tmux-256color",
                 env: dict[str, str] | None = None) -> None:
        self.socket = f"llamafile-{os.getpid()}-{next(_numbers)}"
        self.folder = folder
        command = " ".join(shlex.quote(str(word)) for word in words)
        kept = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", "SHELL": SHELL,
                "TMPDIR": str(folder), **(env or {})}
        configuration = folder / f"{self.socket}.conf"
        configuration.write_text(f"set -g default-terminal {term}\nset -g history-limit 100000\n"
                                 "set -g remain-on-exit on\nset -s escape-time 0\nset -g status off\n")
        self._tmux("-f", configuration, "new-session", "-d", "-x", columns, "-y", rows, "-c", folder,
                   f"trap : INT; {command}; echo {ENDED} $?; sleep 1000", env=kept)

    def _tmux(self, *words: object, env: dict[str, str] | None = None, **more) -> str:
        done = subprocess.run(["tmux", "-L", self.socket, *map(str, words)], capture_output=True, text=True, env=env,
                              timeout=PATIENCE, **more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["tmux", "-L", self.socket, "kill-server"], capture_output=True)

    def screen(self, *flags: str) -> str:
        """What is on the screen, without blank lines at its end; flags -e (with colours), -J (folded lines joined)."""
        return self._tmux("capture-pane", "-p", *flags).rstrip()

    def all(self, *flags: str) -> str:
        """The screen and what has left it at the top."""
        return self._tmux("capture-pane", "-p", "-S", "-", *flags).rstrip()

    def keys(self, *names: str) -> Terminal:
        """Press keys by tmux's names."""
        self._tmux("send-keys", *names)
        return self

    def type(self, text: str) -> Terminal:
        """Type text as it is."""
        self._tmux("send-keys", "-l", "--", text)
        return self

    def say(self, text: str) -> Terminal:
        """Type a line and press Enter."""
        return self.type(text).keys(ENTER)

    def paste(self, text: str) -> Terminal:
        """Paste text, in brackets where the program asked for them."""
        self._tmux("load-buffer", "-", input=text)
        self._tmux("paste-buffer", "-p")
        return self

    def resize(self, columns: int, rows: int) -> Terminal:
        """Change the terminal's size."""
        self._tmux("resize-window", "-x", columns, "-y", rows)
        return self

    def wait(self, pattern: str, seconds: float = PATIENCE, what=None) -> str:
        """Wait until the pattern is on the screen (or in what `what` returns), and return the screen."""
        deadline, look = time.monotonic() + seconds, what or self.screen
        while not re.search(pattern, shown := look(), re.MULTILINE):
            assert time.monotonic() < deadline, f"no {pattern!r} within {seconds} s on:\n{shown}"
            time.sleep(0.03)
        return shown

    def prompt(self, seconds: float = PATIENCE) -> str:
        """Wait for an empty prompt at the end of the screen."""
        return self.wait(r"^>>> Say something, or /\? for help\Z", seconds)

    def ended(self, status: int = 0) -> str:
        """Wait until the program has ended, with this status."""
        return self.wait(rf"^{ENDED} {status}$")
