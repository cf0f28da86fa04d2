"""Which of its modes the program runs in: an answer, a chat in the terminal, the server, or both of them."""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llamafile.arguments import Options

SERVER, CHAT, COMBINED, ANSWER, PIPED = "server", "chat", "combined", "cli", "piped"


def choose(options: Options) -> str:
    """Return the mode that the flags name; where they name none, the standard input decides.

    A terminal: chat in front, server behind. A pipe or a file: what is in it is asked, and the answer written. Neither,
    as /dev/null in a service: the server.
    """
    if options.server:
        return SERVER
    if options.chat:
        return CHAT
    if _wants_text(options):
        return ANSWER
    if os.isatty(0):
        return COMBINED
    kind = os.fstat(0).st_mode
    return PIPED if stat.S_ISFIFO(kind) or stat.S_ISREG(kind) else SERVER


def _wants_text(options: Options) -> bool:
    """Whether anything asks for one answer, or for the plain conversation of -cnv and its kin."""
    prompts = (options.prompt, options.prompt_file, options.prompt_binary)
    modes = (options.cli, options.interactive, options.interactive_first, options.conversation, options.instruct,
             options.chatml)
    return any(prompt is not None for prompt in prompts) or any(modes)


def ask_what_is_piped(options: Options) -> None:
    """Turn the options into those of one answer to all of the standard input, by the model's chat template.

    Without a template the text is gone on from. Raises LlamafileError where there is no model.
    """
    from llamafile.locate import open_model

    with open_model(options.model) as file:
        templated = bool(file.text("tokenizer.chat_template", None))
    options.prompt_file = "/dev/stdin"
    options.conversation = options.single_turn = templated or options.chat_template is not None
    options.display_prompt = "display_prompt" in options.given and options.display_prompt
