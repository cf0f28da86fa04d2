"""The command line's runner: one answer to a prompt, turns of text, or a conversation, on the terminal."""

from __future__ import annotations

from llamafile.errors import LlamafileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llamafile.arguments import Options
    from llamafile.cli.completion import Completion
    from llamafile.cli.conversation import Conversation


def run(options: Options, piped: bool = False) -> int:
    """Do what the options ask for and return the exit status; raises LlamafileError for what a user can mend.

    `piped` says that the prompt comes from the standard input without a word about it on the command line.
    """
    from llamafile import sandbox, times
    from llamafile.cli import engine, prompt_file, texts
    from llamafile.cli.interrupt import Interrupt
    from llamafile.cli.output import Output

    output = Output(options)
    for notice in options.notices:
        output.note(notice)
    given = texts.Texts(options)
    if piped and not (given.prompt or b"").strip():
        raise LlamafileError("standard input: is empty; write a prompt into it, or give --server to serve")
    prompt_file.prepare(options)
    sandbox.give_up_writing(options, engine.wanted_gpu(options))
    with engine.Engine(options, output) as timeline:
        runner = _runner(options)(options, given, timeline, output, Interrupt())
        sandbox.preload("cli")
        sandbox.close_door("cli", options, gpu=timeline.model.gpu, note=output.note, detail=output.detail)
        times.mark("door")
        try:
            status = runner.run()
        finally:
            output.restore()
        timeline.report()
        output.detail(times.text())
    return status


def _runner(options: Options) -> type[Completion] | type[Conversation]:
    from llamafile.cli import texts

    if texts.is_conversation(options):
        from llamafile.cli.conversation import Conversation

        return Conversation
    from llamafile.cli.completion import Completion

    return Completion
