"""The command line's runner: one answer to a prompt, turns of text, or a conversation, on the terminal."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llamafile.arguments import Options
    from llamafile.cli.completion import Completion
    from llamafile.cli.conversation import Conversation


def run(options: Options) -> int:
    """Do what the options ask for and return the exit status; raises LlamafileError for what a user can mend."""
    from llamafile import times
    from llamafile.cli import engine, texts
    from llamafile.cli.interrupt import Interrupt
    from llamafile.cli.output import Output

    output = Output(options)
    for notice in options.notices:
        output.note(notice)
    given = texts.Texts(options)
    with engine.Engine(options, output) as timeline:
        runner = _runner(options)(options, given, timeline, output, Interrupt())
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
