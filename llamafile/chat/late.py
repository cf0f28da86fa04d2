"""What the chat needs once somebody has typed: brought in while they do, before the sandbox closes."""

from __future__ import annotations

import contextlib
import sys

from llamafile.errors import LlamafileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llamafile.chat.screen import Screen
    from llamafile.chat.wording import Wording

# Extension modules; where Python has one built in, this costs nothing.
EXTENSIONS = ("_datetime", "_heapq", "_json", "_pickle", "_random", "_struct", "array", "binascii", "math",
              "markupsafe._speedups", "select", "termios", "unicodedata", "zlib")  # fmt: skip
LEXERS = ("c_cpp", "css", "data", "diff", "go", "html", "javascript", "jvm", "python", "rust", "shell", "sql")
FOR_TERMINALS = ("completion", "editor", "keyboard", "live", "markdown", "page", "pasted", "terminal")
SAMPLE = "# a\n\n- `b`\n\n```python\nc = 'd'\n```\n\n|e|f|\n|-|-|\n|1|2|\n"


def modules(screen: Screen) -> list[str]:
    """Return what must be imported before the door closes; from the sources that is everything."""
    if "_launcher" in sys.builtin_module_names:
        return list(EXTENSIONS)
    from llamafile import chat_template, own

    ours = [name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            for name in own.names("llamafile/chat") if name.endswith(".py")]
    if screen.controlled:
        ours += [f"pygments.lexers.{name}" for name in LEXERS]
    else:
        ours = [name for name in ours if name.rpartition(".")[2] not in FOR_TERMINALS]
    return [*EXTENSIONS, *ours, *chat_template.LATE, "difflib", "encodings.cp1252", "encodings.utf_8_sig", "heapq"]


def load(screen: Screen, wording: Wording) -> None:
    """Word and render something of each kind, so that the first answer waits for nothing."""
    with contextlib.suppress(LlamafileError):  # whoever says something will be told
        wording.text([{"role": "user", "content": "Hello"}])
    if screen.controlled:
        renderer = screen.renderer()
        for block in renderer.blocks(SAMPLE):
            renderer.lines(block, 80)
