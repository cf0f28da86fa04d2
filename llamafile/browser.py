"""Opens the chat page in the user's browser, where there seems to be somebody to see it."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llamafile.arguments import Options


def show(options: Options, address: str) -> None:
    """Open the page at an address, if somebody is there to see it; to be called while there is one thread."""
    if wanted(options) and address.startswith("http"):
        launch(address)


def wanted(options: Options) -> bool:
    """Whether a browser is to be opened: somebody sits at a terminal with a display, and said nothing against it."""
    if options.nobrowser or not options.ui or not os.isatty(0):
        return False
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def launch(url: str) -> None:
    """Have the desktop open the address, in a process that is left to itself: some hang, some become the browser.

    The server need not answer yet: who listens has callers wait.
    """
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        os.setsid()  # Ctrl-C here must not close the browser there
        if not os.fork():
            nothing = os.open(os.devnull, os.O_RDWR)
            for fd in (0, 1, 2):
                os.dup2(nothing, fd)
            os.closerange(3, 256)
            program = "open" if sys.platform == "darwin" else "xdg-open"
            os.execvp(program, [program, url])
    finally:
        os._exit(0)
