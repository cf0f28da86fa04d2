"""What is imported once the server is up: in the executable Python modules may come late, extension modules not."""

from __future__ import annotations

import contextlib
import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llamafile.server.loading import Served

# Extension modules that endpoints need; where Python has one built in, this costs nothing.
EXTENSIONS = ("_datetime", "_json", "_pickle", "_queue", "_random", "_struct", "binascii", "math",
              "markupsafe._speedups", "unicodedata", "zlib")  # fmt: skip

PACKAGES = ("grammar", "server", "tool_calls")  # of ours, whose modules come late


def modules() -> list[str]:
    """Return what must be imported before the door closes; from the sources that is everything."""
    if "_launcher" in sys.builtin_module_names:
        return list(EXTENSIONS)
    from llamafile import chat_template, own

    files = [name for folder in PACKAGES for name in own.names(f"llamafile/{folder}") if name.endswith(".py")]
    ours = [name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in files]
    return [*EXTENSIONS, *ours, *chat_template.LATE, "concurrent.futures.thread", "urllib.parse", "traceback"]


def _endpoints() -> list[str]:
    from llamafile.server import app

    return [f"llamafile.server.{name}" for name in sorted(set(app.PATHS.values()))]


def warm(served: Served) -> None:
    """Begin to import, in a thread, what the first requests need, so that they need not wait for it."""
    def work() -> None:
        from llamafile import own

        for name in _endpoints():
            __import__(name)
        if served.own_template:
            _try_template(served)
        own.let_go()

    threading.Thread(target=work, name="warm", daemon=True).start()


def _try_template(served: Served) -> None:
    from llamafile import chat_template

    with contextlib.suppress(Exception):  # whoever sends a conversation that fails is told
        chat_template.render(served.template, [{"role": "user", "content": ""}])
        for name in chat_template.LATE:  # for tools, where plain turns do without
            __import__(name)
