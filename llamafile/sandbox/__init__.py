"""The door: what the process gives up for ever once it has all it needs, so that a hijacked one reaches nothing."""

from __future__ import annotations

import os
import sys

from llamafile._native import ffi, lib
from llamafile.errors import LlamafileError
from llamafile.sandbox import files

__all__ = ["close_door", "files", "give_up_writing", "preload", "sink", "why_off"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

# Landlock's rights: about files those to read files and folders, and all; TCP's bind and connect; abstract sockets and
# signals to processes that are not bound alike.
_READ, _FILES, _NETWORK, _SCOPES = 0xC, 0xFFFF, 0x3, 0x3

sink = -1  # a descriptor of /dev/null that was opened while one could, or -1


def why_off(options: Any, gpu: str = "") -> str | None:
    """Return why this process runs without the sandbox (`gpu` names one in use), or None where it can have it."""
    if options is not None and options.unsecure:
        return "--unsecure"
    if gpu:
        return f"{gpu} is in use, and its driver needs more than the sandbox leaves"
    machine = _machine()
    if machine is None:
        return f"there is none for {sys.platform} yet"
    if not lib.lf_door_has_filters():
        return "this kernel cannot filter system calls of all threads; Linux 3.17 and newer can"
    return None


def _machine() -> str | None:
    """Return the policy's name of this machine; None for one without a column there."""
    if sys.platform != "linux" or sys.maxsize < 1 << 32:
        return None
    machine = os.uname().machine
    return machine if machine in ("x86_64", "aarch64") else None


def give_up_writing(options: Any, gpu: str = "") -> bool:
    """Before threads and before the model is read: no writing, no starting of programs, no TCP, no signals to others.

    Landlock binds the calling thread and those it starts from then on, so this comes before the pool's threads; False
    where it is off or the kernel has none. What is open stays usable."""
    if why_off(options, gpu) is not None:
        return False
    _open_sink()
    return lib.lf_door_landlock(_FILES & ~_READ, _NETWORK, _SCOPES, ffi.NULL, 0) == 0


def close_door(mode: str, options: Any, *, gpu: str = "", note: Callable[[str], None] | None = None,
               detail: Callable[[str], None] | None = None) -> bool:
    """Bind every thread of the process to what a mode needs: "server", "cli", "chat" or "combined"; True where done.

    Call it when everything is open, bound, loaded and imported: see `preload`. Where it is off, `note` gets the line
    that says so (`detail`, if somebody asked for it by --unsecure); where it is closed, `detail` gets one. Raises
    LlamafileError where the kernel has filters and refuses this one."""
    reason = why_off(options, gpu)
    if reason is not None:
        tell = detail if reason == "--unsecure" else note
        if tell:
            tell(f"sandbox: is off: {reason}")
        return False
    _open_sink()
    instructions = _filter(mode)
    landlock = lock_files()
    _install(instructions)
    if detail:
        detail(f"sandbox: active: seccomp ({mode}) in all threads" + (f", Landlock {landlock}" if landlock else ""))
    return True


def install(mode: str) -> None:
    """Bind all threads by the filter of a mode; LlamafileError where the kernel refuses it."""
    _install(_filter(mode))


def _filter(mode: str) -> bytes:
    from llamafile.sandbox.filters import program

    return program(mode, _machine() or "", os.getpid())


def _install(instructions: bytes) -> None:
    wrong = lib.lf_door_filter(instructions, len(instructions) // 8)
    if wrong:
        raise LlamafileError(f"sandbox: the kernel refuses it ({os.strerror(wrong)}); --unsecure runs without it")


def lock_files(folders: Sequence[int] = ()) -> int:
    """Take all of Landlock's rights from the calling thread, but those to files in folders (descriptors of them).

    Returns the version of Landlock, 0 where the kernel has none: the filter holds without it."""
    allowed = ffi.new("lf_door_folder[]", [{"fd": fd, "rights": _FILES & ~1} for fd in folders])
    wrong = lib.lf_door_landlock(_FILES, _NETWORK, _SCOPES, allowed, len(folders))
    return 0 if wrong else lib.lf_door_landlock_version()


def _open_sink() -> None:
    global sink
    if sink < 0:
        try:
            sink = os.open(os.devnull, os.O_WRONLY)
        except OSError:
            sink = -1  # a root without devices; whoever wants the sink does without


# What a mode may import late. In the executable, modules of Python are in memory and only extension modules are files
# of a kind. A server takes all of these, as nobody can tell what its last request will import, but for some that belong
# to other commands or to TLS.
_EXTENSIONS: dict[str, tuple[str, ...]] = {"cli": (), "chat": ("select", "_socket"), "server": ()}
_NOT_FOR_SERVERS = ("_ctypes", "_ssl", "_hashlib", "_uuid", "isal", "zipfile_deflate64")
# A run from the sources has to import everything that it could come to, so all of ours but what is a command's own.
_SOURCES = ("hashlib", "traceback", "encodings.ascii", "encodings.idna", "encodings.latin_1",
            "encodings.unicode_escape")
_COMMANDS = ("__main__", "browser", "build", "convert", "help", "info", "manual", "perplexity", "quantize",
             "subcommand", "upgrade_engine")
_FOLDERS = {"cli": ("grammar", "speculation"), "chat": ("grammar", "serving", "speculation", "tool_calls"),
            "server": ("grammar", "serving", "server", "speculation", "tool_calls")}  # fmt: skip


def preload(mode: str, *more: str) -> None:
    """Import what a mode needs late, and `more` names of modules; to be called before the door closes."""
    frozen = "_launcher" in sys.builtin_module_names
    try:
        for name in (*_EXTENSIONS[mode], *(() if frozen else (*_SOURCES, *_ours(mode))), *more):
            __import__(name)
    except ImportError as problem:  # where /proc is not mounted, the executable cannot load them
        raise LlamafileError(str(problem)) from None
    if not frozen and mode != "cli":
        _load_unwinder()
    for name in _members() if mode == "server" else ():
        try:
            __import__(name)
        except ImportError:
            continue  # whoever needs it is told then


def _ours(mode: str) -> list[str]:
    """Return the names of our modules that a mode may come to: those of the package itself and of some folders."""
    from llamafile import own

    names = [name.removesuffix(".py").split("/")[1:] for name in own.names("llamafile") if name.endswith(".py")]
    kept = [parts for parts in names if parts[0] in _FOLDERS[mode] or (
        len(parts) == 1 and not parts[0].startswith(_COMMANDS))]
    return [".".join(("llamafile", *parts)).removesuffix(".__init__") for parts in kept]


def _load_unwinder() -> None:
    """Where Python takes itself apart at its end, its other threads end by pthread_exit, which loads this library."""
    import contextlib
    import ctypes

    with contextlib.suppress(OSError):  # a C library that has no such need
        ctypes.CDLL("libgcc_s.so.1")


def _members() -> list[str]:
    """Return the names of the extension modules in this executable that a server may need."""
    from llamafile import own

    found = [name[len("ext/") : -len(".so")] for name in own.names("ext") if name.endswith(".so")]
    return [name.replace("/", ".") for name in found if name.split("/")[0] not in _NOT_FOR_SERVERS]
