"""The line editor: history, several lines, completion and hints, pastes of any length."""

from __future__ import annotations

import asyncio
import os
import selectors
import signal
import sys

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.data_structures import Size
from prompt_toolkit.enums import EditingMode
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import History
from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.styles import Style

from llamafile.chat.completion import Commands, Hints, paths
from llamafile.chat.lines import MARK, MORE, QUOTES, closed, unquoted
from llamafile.chat.pasted import Pasted
from llamafile.chat.terminal import size
from llamafile.sandbox.broker import MOST_TYPED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from llamafile.chat.history import HistoryFile
    from llamafile.sandbox.broker import Broker

_STYLE = Style.from_dict({
    "prompt": "bold ansigreen", "placeholder": "ansibrightblack", "auto-suggestion": "ansibrightblack",
    "pasted": "ansibrightblack", "continuation": "ansibrightblack", "leaving": "ansibrightblack",
    "completion-menu": "noinherit", "completion-menu.completion": "noinherit",
    "completion-menu.completion.current": "noinherit reverse", "completion-menu.meta.completion": "ansibrightblack",
    "completion-menu.meta.completion.current": "noinherit reverse", "scrollbar.background": "noinherit",
    "scrollbar.button": "noinherit reverse",
})  # fmt: skip
INVITATION = "Say something, or /? for help"
LEAVING = "Ctrl-C once more, or Ctrl-D, leaves"


class Kept(History):
    """The history file as prompt_toolkit wants it; what is remembered of this chat has pastes as their signs."""

    def __init__(self, file: HistoryFile, pasted: Pasted) -> None:
        super().__init__()
        self._file, self._pasted = file, pasted

    def load_history_strings(self) -> Iterable[str]:
        """Yield earlier turns, the latest first."""
        return reversed(self._file.turns())

    def store_string(self, string: str) -> None:
        """Keep a turn for later chats."""
        self._file.add(self._pasted.expanded(string))


class _Keyboard:
    """The keyboard through the broker, in the form of prompt_toolkit's own reader."""

    closed = False

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def read(self, count: int = 1024) -> str:
        """Return what was typed; nothing at the end of the input."""
        data = self._broker.read(max(count, MOST_TYPED), 0)  # a long paste in few steps
        self.closed = data == b""
        return (data or b"").decode("utf-8", "surrogateescape")


class Editor:
    """Asks for turns on a terminal."""

    def __init__(self, history: HistoryFile, coloured: bool, broker: Broker | None) -> None:
        self._pasted = Pasted()
        self._role, self._leaving = "", False
        self._problem: BaseException | None = None
        depth = ColorDepth.DEPTH_4_BIT if coloured else ColorDepth.DEPTH_1_BIT
        keyboard = Vt100Input(sys.stdin)
        if broker is not None:
            keyboard.stdin_reader = _Keyboard(broker)  # type: ignore[assignment]
        # One loop for all turns: the sandbox lets no new one be made. `poll` is what it leaves to a chat.
        self._loop = asyncio.SelectorEventLoop(selectors.PollSelector())
        # Asking the terminal where its cursor is would make every turn wait for slow connections.
        output = Vt100_Output(sys.stdout, _size, term=os.environ.get("TERM"), default_color_depth=depth,
                              enable_cpr=False)
        self._session: PromptSession[str] = PromptSession(
            self._mark, multiline=True, wrap_lines=True, complete_while_typing=False, auto_suggest=Hints(),
            completer=Commands(paths if broker is None else broker.complete),
            history=Kept(history, self._pasted), key_bindings=self._keys(), style=_STYLE,
            placeholder=self._invitation, prompt_continuation=[("class:continuation", MORE)],
            input_processors=[self._pasted], input=keyboard, output=output, color_depth=depth,
            editing_mode=EditingMode.EMACS, enable_suspend=False, include_default_pygments_style=False,
            reserve_space_for_menu=6,
        )  # fmt: skip

    def turn(self, role: str = "", begun: Callable[[], object] = bool) -> str | None:
        """Return what was typed, None where somebody wants to go; `role` is whose turn it is by /manual.

        `begun` is called when everything is there that this takes. Raises what was handed to `break_off` meanwhile.
        """
        def start() -> None:
            begun()
            self._check()

        self._role, self._leaving = role, False
        try:
            text = self._loop.run_until_complete(self._session.prompt_async(pre_run=start, handle_sigint=False))
        except EOFError:
            return None
        text = self._pasted.expanded(text)
        return unquoted(text[len(QUOTES) :]) if text.startswith(QUOTES) else text

    def break_off(self, problem: BaseException) -> None:
        """Have `turn` raise this; from any thread."""
        self._problem = problem
        loop = self._session.app.loop
        if loop is not None and self._session.app.is_running:
            loop.call_soon_threadsafe(self._check)

    def _check(self) -> None:
        app = self._session.app
        if self._problem is not None and app.is_running and not app.is_done:
            app.exit(exception=self._problem)

    def _invitation(self) -> StyleAndTextTuples:
        return [] if self._session.app.is_done else [("class:placeholder", INVITATION)]

    def _mark(self) -> StyleAndTextTuples:
        if self._leaving and not self._session.app.is_done:
            return [("class:leaving", LEAVING + "\n"), ("class:prompt", self._role + MARK)]
        return [("class:prompt", self._role + MARK)]

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        in_command = Condition(lambda: self._session.default_buffer.text.startswith("/"))
        keys.add("enter")(self._enter)
        keys.add("c-j")(_new_line)
        keys.add("escape", "enter")(_new_line)
        keys.add("c-c")(self._interrupt)
        keys.add(Keys.Any)(self._any)
        keys.add(Keys.BracketedPaste)(self._paste)
        keys.add("c-z")(_suspend)
        keys.add("tab", filter=~in_command)(_indent)
        return keys

    def _enter(self, event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.complete_state and buffer.complete_state.current_completion:
            buffer.complete_state = None
            return
        text = self._pasted.expanded(buffer.text)
        if text.startswith(QUOTES) and not (len(text) > len(QUOTES) and closed(text[len(QUOTES) :])):
            buffer.newline(copy_margin=False)
        elif text.strip() or self._role:
            buffer.validate_and_handle()

    def _interrupt(self, event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        elif self._leaving:
            event.app.exit(exception=EOFError)
        else:
            self._leaving = True

    def _any(self, event: KeyPressEvent) -> None:
        self._leaving = False
        event.current_buffer.insert_text(event.data * event.arg)

    def _paste(self, event: KeyPressEvent) -> None:
        text = event.data.replace("\r\n", "\n").replace("\r", "\n")
        event.current_buffer.insert_text(self._pasted.sign(text))

    def close(self) -> None:
        """Close the loop."""
        self._loop.close()


def _size() -> Size:
    columns, rows = size()
    return Size(rows, columns)


def _new_line(event: KeyPressEvent) -> None:
    event.current_buffer.newline(copy_margin=False)


def _suspend(event: KeyPressEvent) -> None:
    run_in_terminal(lambda: os.kill(os.getpid(), signal.SIGTSTP))


def _indent(event: KeyPressEvent) -> None:
    event.current_buffer.insert_text("    ")
