"""What the manual of llamafile says beside the flag table: synopsis, files, environment, exit codes, examples."""

from __future__ import annotations

ONE_LINE = "run a language model from one file"

COMMANDS = (
    ("convert MODEL [-o OUT] [-- ARGS...]", "Make one executable of this engine, the weights and default arguments."),
    ("info FILE", "Print metadata, tensors, formats, members and the engine's version."),
    ("perplexity -m MODEL -f TEXT [-c N]", "Tell how well the model foretells a text; its own --help says more."),
    ("quantize IN OUT TYPE", "Write the weights in another format."),
    ("upgrade-engine FILE", "Put this engine under the weights of an older llamafile without moving them."),
)

SYNOPSIS = (
    "llamafile [FLAGS] -m MODEL.gguf",
    "llamafile [FLAGS] -m MODEL.gguf -p PROMPT",
    "llamafile [FLAGS] -m MODEL.gguf --chat|--server",
    "llamafile info|convert|quantize|perplexity|upgrade-engine ...",
)

DESCRIPTION = (
    "llamafile runs the weights in a GGUF file on this machine's processor. The program and the weights may be one "
    "file: zipalign or the convert command puts them together, and the result is made executable and run like any "
    "program. Weights are mapped into memory where they lie; nothing is unpacked.",
    "Only the answer goes to the standard output; the banner, notes and timings go to the standard error stream. "
    "Later flags win over earlier ones, flags over .args, and .args over the environment. In long flags _ may "
    "stand for -, and --flag=value for --flag value.",
    "Without a prompt, the standard input decides what it does. At a terminal there is a chat in the terminal, and "
    "behind it a server with a chat page at http://127.0.0.1:8080 (or the next port that is free), which a browser "
    "opens; --chat does without the server and --server without the chat. From a pipe or a file the prompt is read, "
    "and the answer written by the model's chat template. With neither, as in a service, there is the server.",
    "In the chat, /help lists the commands. Triple quotes or Ctrl-J make several lines, Tab completes commands and "
    "files. -sys gives the system prompt; with --chat so does -p. What was typed is kept in ~/.llamafile_history.",
    "Ctrl-C stops the answer; a second one leaves, and so does Ctrl-D.",
)

# What is said before the flags of a group.
GROUP_NOTES = {
    "GPU": "A GPU is used where -ngl or --gpu asks for it. Its module is built once, on this machine, by its maker's "
           "compiler (nvcc, hipcc), and kept in $LLAMAFILE_CACHE, ~/.llamafile, $XDG_RUNTIME_DIR or $TMPDIR. "
           "CUDA_VISIBLE_DEVICES, HIP_VISIBLE_DEVICES, CUDA_PATH (empty: no CUDA) and HIP_PATH are heeded.",
    "Server": "For --server, and for the server behind the chat; elsewhere they change nothing, so that one .args "
              "serves all.",
}

FILES = [
    (".args", "Member of the executable with default arguments, one a line; the two characters \\n are a newline. A "
     "line ... is where the arguments of the command line go; without one they go at the end. A line that begins with "
     "a quote or #, or with - and has a space, is read as words in the manner of a shell, with '...', \"...\", "
     "backslash, $NAME and comments."),
    ("~/.llamafile_history", "What was typed in chats, for the arrow keys. Where the home folder cannot be written to, "
     "it is kept in $XDG_RUNTIME_DIR or below $TMPDIR; $LLAMAFILE_CACHE names another folder."),
    ("/zip/NAME", "A member of the executable, wherever a file is read."),
]

ENVIRONMENT = [
    ("LLAMA_ARG_...", "Most flags have a twin, named in brackets above; LLAMA_ARG_NO_... switches one off."),
    ("NO_COLOR", "Switches colours off, unless --color on says otherwise."),
    ("LLAMAFILE_CACHE", "Folder for the history of chats."),
    ("DISPLAY, WAYLAND_DISPLAY", "Without either of them no browser is opened."),
    ("_LLAMAFILE_COMPLETE", "Set by the completion scripts of shells."),
]

EXIT_CODES = [
    ("0", "The answer is complete."),
    ("1", "Something was wrong; one line on the standard error stream says what, and what to do."),
    ("130", "Ctrl-C ended the program."),
    ("141", "What read the answer went away (as SIGPIPE does)."),
]

EXAMPLES = (
    ("Go on from a text:", ("llamafile -m model.gguf -p 'four score and' -n 64",)),
    ("Chat with the weights inside the executable, in the terminal and in a browser:",
     ("./model.llamafile", "./model.llamafile -sys 'You are a pirate.' --temp 0.7")),
    ("Ask about a file:", ("./model.llamafile -sys 'Summarise this.' < page.txt > summary.txt",)),
    ("Summarise a file, and keep only the answer:",
     ("( echo '[INST]Summarize the following text:'; cat page.txt; echo '[/INST]' ) |",
      "  llamafile -m mistral.gguf -f /dev/stdin -c 0 --temp 0 -n 500 --no-display-prompt 2>/dev/null")),
    ("Complete a function of C and stop where it ends:",
     ("llamafile -m coder.gguf --temp 0 -r '}\\n' -e -p 'int max(int a, int b) {\\n'",)),
    ("Make one executable:",
     ("llamafile convert model.gguf -o model.llamafile -- --temp 0.7 ...",)),
)

SEE_ALSO = {"llamafile": "zipalign(1)", "zipalign": "llamafile(1)"}
