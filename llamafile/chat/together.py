"""What runs at the same time: the loading, the server behind, the chat in front, and the door that closes."""

from __future__ import annotations

import threading

from llamafile import sandbox, times
from llamafile.chat.interrupt import Interrupt
from llamafile.chat.loading import Loading
from llamafile.cli.texts import Texts
from llamafile.server.loading import Served

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llamafile.arguments import Options
    from llamafile.chat.chat import Chat
    from llamafile.chat.history import HistoryFile
    from llamafile.chat.loading import Engine
    from llamafile.chat.screen import Screen
    from llamafile.sandbox.broker import Broker

DONE, INTERRUPTED = 0, 130


class Together:
    """A with block around all threads; `notes` is what they have to say, until the screen is free for it."""

    def __init__(self, options: Options, chosen: Any, sockets: list[Any], notes: list[str]) -> None:
        self.options, self.sockets, self.notes = options, sockets, notes
        self.given = Texts(options)
        self.interrupt = Interrupt()
        self.served = Served(options, chosen)
        self.served.note = notes.append  # type: ignore[method-assign,assignment]
        self.behind: Any = None
        self.screen: Screen | None = None
        self.typed: Any = None
        self.asking = threading.Event()  # set once all that asks for a turn is there
        self.loading = Loading(self.served)
        self.settling: threading.Thread | None = None

    def __enter__(self) -> Together:
        self.served.thread.start()
        if self.sockets:
            if self.served.settings.tls is None:
                from llamafile.server import without_tls

                without_tls()
            from llamafile.chat.behind import Behind

            self.behind = Behind(self.served, self.sockets, self.loading)
            self.behind.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Let the server finish, then stop the engine, which the thread that settles all may be using."""
        self.asking.set()
        if self.settling is not None:
            self.settling.join()
        if self.behind is not None:
            if self.screen is not None and self.behind.busy():
                self.screen.note(f"finishing {self.behind.busy()} requests over HTTP, for at most "
                                 f"{self.options.drain_seconds} s; Ctrl-C ends now")
            self.behind.end()
        self.served.close()
        sandbox.files.close()

    def chat(self, history: HistoryFile | None, broker: Broker | None) -> int:
        """Take turns until the end of the input; `history` is there for a terminal that may be controlled."""
        from llamafile.chat.chat import Chat

        if history is not None:
            from llamafile.chat.editor import Editor
            from llamafile.chat.terminal import Terminal

            self.screen = terminal = Terminal(self.options)
            self.typed = Editor(history, terminal.coloured, broker)
        else:
            from llamafile.chat.lines import Lines
            from llamafile.chat.screen import Screen

            self.screen = Screen(self.options)
            self.typed = Lines(self.screen.output, broker)
        chat = Chat(self.options, self.given, self.screen, self.loading, self.interrupt)
        self.settling = threading.Thread(target=self._settle, name="settle")
        self.settling.start()
        times.mark("prompt")
        try:
            self._take_turns(chat)
        except KeyboardInterrupt:
            return INTERRUPTED
        finally:
            self.screen.close()
            self.typed.close()
        return DONE

    def _take_turns(self, chat: Chat) -> None:
        text: str | None = None
        if self.given.prompt and self.given.system is not None:
            text = self.given.prompt.decode("utf-8", "replace")  # with -sys, -p is the first turn
            self.asking.set()
        while True:
            while self.notes:
                chat.screen.note(self.notes.pop(0))
            if text is None:
                self.interrupt.asking = self.typed.break_off
                text = self.typed.turn(chat.role if chat.manual else "", self._begun)
                self.interrupt.asking = None
            self.interrupt.begin()
            if text is None or not chat.take_turn(text):
                return
            text = None

    def _begun(self) -> None:
        self.interrupt.ask()
        self.asking.set()

    def _settle(self) -> None:
        """Wait for the model, bring in what the first answer needs, and close the door; in a thread of its own."""
        problem: BaseException | None = None
        try:
            engine = self.loading.prepare()
            self.asking.wait()
            self._close_door(engine)
        except BaseException as found:  # it is raised again where somebody waits
            problem = self.served.problem = found
        times.mark("ready")
        self.loading.settle(problem)
        if problem is not None:
            self.asking.wait()
            self.typed.break_off(problem)
        elif self.options.verbose:
            self.notes.append(times.text())

    def _close_door(self, engine: Engine) -> None:
        """From here on the process opens nothing but what somebody types, and connects to nobody."""
        from llamafile.chat import late

        assert self.screen is not None
        late.load(self.screen, engine.wording)
        modules = late.modules(self.screen)
        if self.behind is not None:
            from llamafile.server import late as server_late

            modules += server_late.modules()
            sandbox.preload("server", *modules)
        sandbox.preload("chat", *modules)
        detail = self.notes.append if self.options.verbose else None
        sandbox.close_door("chat" if self.behind is None else "combined", self.options, gpu=self.served.model.gpu,
                           note=self.notes.append, detail=detail)
