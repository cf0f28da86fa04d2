"""The terminal's keyboard while nothing is being asked: what is typed then is not shown, and kept for the next turn."""

from __future__ import annotations

import signal
import termios

_IFLAG, _LFLAG, _CC = 0, 3, 6


class Keyboard:
    """A with block in which keys wait silently: Enter stays Enter, Ctrl-C still interrupts."""

    def __init__(self, fd: int = 0) -> None:
        self._fd = fd
        self._found = termios.tcgetattr(fd)

    def __enter__(self) -> Keyboard:
        self._hush()
        signal.signal(signal.SIGCONT, self._hush)  # a shell that stopped us has set the terminal to its own liking
        return self

    def _hush(self, *_: object) -> None:
        quiet = termios.tcgetattr(self._fd)
        quiet[_LFLAG] &= ~(termios.ECHO | termios.ICANON)
        quiet[_IFLAG] &= ~(termios.ICRNL | termios.INLCR | termios.IGNCR)
        characters = list(quiet[_CC])
        characters[termios.VMIN], characters[termios.VTIME] = 1, 0
        quiet[_CC] = characters
        termios.tcsetattr(self._fd, termios.TCSANOW, quiet)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGCONT, signal.SIG_DFL)
        termios.tcsetattr(self._fd, termios.TCSADRAIN, self._found)
