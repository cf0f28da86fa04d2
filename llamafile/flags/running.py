"""Flags that choose what the program does, what it says about itself, and what it logs."""

from __future__ import annotations

from llamafile.flags.row import INT, MAYBE, SWITCH, TEXT, Flag, later, without_effect

GROUP = "What to do"

ON_OFF = ("on", "off", "auto")
_LOG = "log lines go to the standard error stream"
_ONE_NUMERIC = "there is one way to compute, and it is the precise one"

FLAGS = (
    Flag("-h --help --usage", "help", SWITCH, False, "Show this and exit."),
    Flag("--version", "version", SWITCH, False,
         "Name the engine's version and revision, Python, the instruction set in use and those left out; exit."),
    Flag("--verify", "verify", SWITCH, False, "Check the checksum of every member of this executable and exit."),
    Flag("--print-unit", "print_unit", SWITCH, False,
         "Print a systemd unit that runs these words as a server, with all that it does not need taken away; exit."),
    Flag("--completion-bash", "completion_bash", SWITCH, False,
         "Print a script that teaches bash these flags: source <(llamafile --completion-bash)."),
    Flag("--cli", "cli", SWITCH, False, "Write an answer on the terminal; -p or -f imply it."),
    Flag("--chat", "chat", SWITCH, False, "Chat in the terminal, without the server behind it."),
    Flag("--server", "server", SWITCH, False,
         "Serve the web page and the HTTP interface, without a chat in the terminal."),
    later("--v2", SWITCH, "Serve with the second kind of server."),
    later("--localscore", SWITCH, "Measure this machine with the model."),
    later("-cl --cache-list", SWITCH, "List the downloaded models."),
    Flag("--log-enable", "log", SWITCH, True, "Write banner, notes and timings to the standard error stream; "
         "--log-disable leaves only errors.", off="--log-disable"),
    Flag("-v --verbose --log-verbose", "verbose", SWITCH, False, "Say more on the standard error stream."),
    without_effect("-lv --verbosity --log-verbosity", INT, 3, "Threshold of log lines.", "use -v or --log-disable",
                   env="LLAMA_ARG_LOG_VERBOSITY"),
    Flag("--perf", "perf", SWITCH, True, "Write timings to the standard error stream at the end.", off="--no-perf",
         env="LLAMA_ARG_PERF"),
    without_effect("--show-timings", SWITCH, True, "Write timings; they are written anyway.",
                   off="--no-show-timings"),
    without_effect("--log-file", TEXT, "", "File for log lines.", _LOG, metavar="FILE", env="LLAMA_ARG_LOG_FILE"),
    without_effect("-ld --logdir", TEXT, "", "Folder for log files.", _LOG, metavar="FOLDER"),
    without_effect("--log-new", SWITCH, False, "Start a new log file.", _LOG),
    without_effect("--log-append", SWITCH, False, "Add to the old log file.", _LOG),
    without_effect("--log-jsonl", SWITCH, False, "Log lines as JSON.", _LOG, off="--no-log-jsonl"),
    without_effect("--log-colors", MAYBE, "auto", "Colours in log lines.", choices=ON_OFF,
                   env="LLAMA_ARG_LOG_COLORS"),
    without_effect("--log-prefix", SWITCH, False, "Prefix of log lines.", off="--no-log-prefix",
                   env="LLAMA_ARG_LOG_PREFIX"),
    without_effect("--log-timestamps", SWITCH, False, "Times in log lines.", off="--no-log-timestamps",
                   env="LLAMA_ARG_LOG_TIMESTAMPS"),
    without_effect("--nologo", SWITCH, False, "Print no logo; there is none."),
    without_effect("--ascii", SWITCH, False, "Print the logo in ASCII; there is none."),
    Flag("--unsecure", "unsecure", SWITCH, False, "Run without the sandbox, which lets nothing be opened, connected or "
         "started once the model is loaded."),
    without_effect("--confine-reads", SWITCH, False, "Confine reading; once the model is loaded, nothing can be read."),
    without_effect("--trap", SWITCH, False, "Stop at floating point exceptions.", "there is nothing to trap"),
    without_effect("--trace", SWITCH, False, "Trace system calls.", "use strace"),
    without_effect("--fast", SWITCH, False, "Prefer speed to precision.", _ONE_NUMERIC),
    without_effect("--precise", SWITCH, False, "Prefer precision to speed; it always is."),
    without_effect("--offline", SWITCH, False, "Use no network; none is used.", env="LLAMA_ARG_OFFLINE"),
)
