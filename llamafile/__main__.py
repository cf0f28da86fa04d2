"""The program: finds out what is asked for, runs it, and turns everything a user can cause into one line."""

from __future__ import annotations

import os
import sys

from llamafile import times
from llamafile.errors import LlamafileError
from zipalign import ZipError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llamafile.arguments import Options

# Word → module with main(argv); such a word stands first on the command line.
COMMANDS = {
    "convert": "llamafile.convert",
    "gpu-probe": "llamafile.gpu_probe",
    "info": "llamafile.info",
    "perplexity": "llamafile.perplexity",
    "quantize": "llamafile.quantize",
    "upgrade-engine": "llamafile.upgrade_engine",
}
WRONG, INTERRUPTED, SIGPIPE_STATUS = 1, 130, 141


def main(argv: list[str] | None = None) -> int:
    """Run the program with these arguments (the process's own by default) and return its exit status."""
    times.mark("ours")
    try:
        keep_standard_descriptors()
        status = run(sys.argv[1:] if argv is None else argv)
        if sys.stdout is not None:
            sys.stdout.flush()  # while a full disk or a closed pipe can still be told
        return status
    except (LlamafileError, ZipError) as wrong:
        return complain(str(wrong))
    except BrokenPipeError:
        return leave_like_sigpipe()
    except OSError as problem:
        if problem.filename is not None:
            raise  # a room has forgotten to say what a user can do
        forget_output()
        return complain(f"standard output: {problem.strerror}; see what it leads to")
    except KeyboardInterrupt:
        return INTERRUPTED
    except MemoryError:
        return complain("memory: there is not enough; choose a smaller model, or a smaller context with -c")
    except Exception as wrong:
        if is_fault(wrong):
            return complain(str(wrong))
        raise  # a bug, whose traceback is its report


def is_fault(wrong: Exception) -> bool:
    """Whether an exception is the runtime's own, without loading the runtime to find out."""
    declare = sys.modules.get("runtime.ops.declare")
    return declare is not None and isinstance(wrong, declare.RuntimeFault)


def run(words: list[str]) -> int:
    """Dispatch: a command, one of the flags that answer and exit, else the command line."""
    if words and words[0] in COMMANDS:
        return run_command(COMMANDS[words[0]], words[1:])
    instruction = os.environ.get("_LLAMAFILE_COMPLETE")
    if instruction:
        from llamafile import help

        return help.complete(instruction)
    from llamafile import args_file, arguments, locate

    merged, of_file = args_file.merge(locate.shipped_arguments(), words)
    options = arguments.read(merged, of_file)
    if answer_and_exit(options):
        return 0
    if options.print_unit:
        from llamafile import unit

        sys.stdout.write(unit.text(options, words))
        return 0
    if not merged and options.model is None and not locate.has_weights():
        from llamafile import help

        help.show()
        return 0
    return run_mode(options)


def run_mode(options: Options) -> int:
    """Run in the mode that the options ask for."""
    from llamafile import modes

    mode = modes.choose(options)
    if mode == modes.SERVER:
        from llamafile import server

        return server.run(options)
    if mode in (modes.CHAT, modes.COMBINED):
        from llamafile import chat

        return chat.run(options, serve=mode == modes.COMBINED)
    if mode == modes.PIPED:
        modes.ask_what_is_piped(options)
    from llamafile import cli

    return cli.run(options, piped=mode == modes.PIPED)


def run_command(module: str, words: list[str]) -> int:
    """Import one command's module and run its main(argv)."""
    __import__(module)
    return sys.modules[module].main(words) or 0


def answer_and_exit(options: Options) -> bool:
    """Serve the flags that only tell something; False where none was given."""
    if options.help:
        from llamafile import help

        help.show()
    elif options.version:
        from llamafile import version

        sys.stdout.write(version.text())
    elif options.gpu_doctor or options.list_devices:
        from llamafile import gpu_doctor

        gpu_doctor.show(options)
    elif options.verify:
        from llamafile import version

        sys.stdout.write(version.verify())
    elif options.completion_bash:
        from llamafile import help

        sys.stdout.write(help.bash_script())
    else:
        return False
    return True


def keep_standard_descriptors() -> None:
    """Put something on closed descriptors 0 to 2, lest the model's file become one; writing to them still fails."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # takes the lowest free number, which is fd


def forget_output() -> None:
    """Send what is still held back for the standard output nowhere, so that nothing fails a second time at exit."""
    sandbox = sys.modules.get("llamafile.sandbox")
    if sandbox is not None and sandbox.sink >= 0:  # opened while one still could
        os.dup2(sandbox.sink, 1)
        return
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    os.close(sink)


def complain(message: str) -> int:
    """Write one line to the standard error stream and return the exit status that goes with it."""
    line = "llamafile: " + " ".join(message.splitlines()) + "\n"
    try:  # noqa: SIM105 - contextlib would cost every start
        os.write(2, line.encode("utf-8", "surrogateescape"))
    except OSError:
        pass  # nobody listens; the exit status still says it
    return WRONG


def leave_like_sigpipe() -> int:
    """End as programs do whose reader went away: silently, by the signal that Python ignores."""
    import _signal

    forget_output()
    _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
    os.kill(os.getpid(), _signal.SIGPIPE)
    return SIGPIPE_STATUS


if __name__ == "__main__":
    sys.exit(main())
