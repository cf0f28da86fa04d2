"""Starts zipalign: `zipalign ...` or `python -m zipalign ...`."""

from __future__ import annotations

import sys

from zipalign import ZipError
from zipalign.stop import Stopped, end_by, stoppable


def main() -> None:
    """Run the command line; what a user can cause ends in one line and exit code 1, a signal in that signal."""
    try:
        with stoppable():
            from zipalign.cli import command

            command(prog_name="zipalign")
    except ZipError as problem:
        from zipalign.cli import printable

        sys.exit(f"zipalign: {printable(str(problem))}")
    except Stopped as stopped:
        end_by(stopped.number)


if __name__ == "__main__":
    main()
