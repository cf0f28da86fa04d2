"""zig's C compiler as a tool with a fixed target: what it links runs on every glibc from the target's version on."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from llamafile.errors import LlamafileError

TARGET = "x86_64-linux-gnu.2.17"


def tool(name: str, target: str, folder: Path) -> Path:
    """Write a script in folder that runs `zig NAME`, a compiler with its target: configure wants one word for it."""
    path = folder / f"zig-{name.replace('+', 'x')}-{target}"
    options = f" -target {target} -fno-sanitize=undefined -Wno-date-time" if name in ("cc", "c++") else ""
    caches = " ".join(
        f"ZIG_{scope}_CACHE_DIR={shlex.quote(str(folder / 'zig-cache'))}" for scope in ("GLOBAL", "LOCAL")
    )
    text = f'#!/bin/sh\nexport {caches}\nexec {shlex.quote(str(_binary()))} {name}{options} "$@"\n'
    folder.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
        path.chmod(0o755)
    return path


def triple(target: str) -> str:
    """The GNU name of a target: x86_64-linux-gnu.2.17 is x86_64-linux-gnu."""
    return target.partition(".")[0]


def _binary() -> Path:
    try:
        import ziglang
    except ImportError:
        raise LlamafileError(
            "ziglang: not installed; pip install ziglang, the release is built with its compiler"
        ) from None
    path = Path(ziglang.__path__[0]) / ("zig.exe" if os.name == "nt" else "zig")
    if not path.is_file():
        raise LlamafileError(f"ziglang: {path} is missing; install it again")
    return path
