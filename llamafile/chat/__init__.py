"""The terminal chat: a prompt to type at, commands that begin with a slash, answers as they are written."""

from __future__ import annotations

import os

from llamafile import times

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llamafile.arguments import Options

CACHE = ".cache"  # what the name of a saved conversation's cache ends in


def run(options: Options, serve: bool) -> int:
    """Chat until somebody leaves, with the HTTP server behind if `serve`; return the exit status.

    The prompt stands there before the model is loaded: what is typed meanwhile waits. Raises LlamafileError where
    there is no model, or no port to listen on.
    """
    from llamafile.chat import banner
    from llamafile.cli.output import Output
    from llamafile.server import settings

    facts, chosen = banner.facts(options), settings.Settings(options)
    output = Output(options)
    controlled = output.on_terminal and output.typed_on_terminal and os.environ.get("TERM", "dumb") != "dumb"
    sockets = _sockets(options) if serve else []
    address = _address(sockets, chosen)
    banner.show(options, facts, address, controlled)
    if not controlled:
        return _run(options, chosen, sockets, controlled)
    from llamafile.chat.keyboard import Keyboard

    with Keyboard():
        banner.invite(options)
        return _run(options, chosen, sockets, controlled)


def _run(options: Options, chosen: Any, sockets: list[Any], controlled: bool) -> int:
    """Do what must be done while there is one thread, then run the threads."""
    from llamafile import browser, sandbox
    from llamafile.chat.history import HistoryFile
    from llamafile.cli import engine

    notes: list[str] = list(options.notices)
    history = HistoryFile(notes.append) if controlled else None
    browser.show(options, _address(sockets, chosen))
    broker = None
    if sandbox.why_off(options) is None:
        folders = {"slots": chosen.slot_folder} if chosen.slot_folder is not None and sockets else {}
        broker = sandbox.files.start(folders=folders, keyboard=True, endings=(CACHE,))
    sandbox.give_up_writing(options, engine.wanted_gpu(options))
    from llamafile.chat.together import Together

    times.mark("threads")
    with Together(options, chosen, sockets, notes) as together:
        return together.chat(history, broker)


def _sockets(options: Options) -> list[Any]:
    from llamafile.server import listen

    return listen.sockets(options)


def _address(sockets: list[Any], chosen: Any) -> str:
    if not sockets:
        return ""
    from llamafile.server import listen

    return listen.url(sockets[0], "http" if chosen.tls is None else "https", chosen.prefix)
