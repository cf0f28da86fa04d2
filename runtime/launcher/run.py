"""First Python of a frozen executable: runs a program's main() and ends the process as `python` would, but sooner."""

from __future__ import annotations

import sys


def run(module: str) -> int:
    """Import module, call its main(), and return the exit status; threads, atexit functions and streams are seen to."""
    try:
        __import__(module)
        status = _status(sys.modules[module].main())
    except SystemExit as stop:
        status = _status(stop.code)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    return _finish(status)


def _status(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 255
    print(code, file=sys.stderr)
    return 1


def _finish(status: int) -> int:
    threading = sys.modules.get("threading")
    if threading is not None:
        threading._shutdown()
    import atexit

    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except BrokenPipeError:
            pass  # whoever read the answer has left; that is no news to anyone
        except (OSError, ValueError):
            status = status or 120  # as Python: the output could not be written
    return status
