"""The commands of the chat, which begin with a slash: one function and one row of the table each."""

from __future__ import annotations

from typing import NamedTuple

from llamafile.chat import CACHE, files, report, upload
from llamafile.chat.dialogue import ROLES
from llamafile.errors import LlamafileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from llamafile.chat.chat import Chat


class Leave(Exception):
    """The user wants to go."""


class Command(NamedTuple):
    """What `name` does: `takes` is the hint for its argument, `path` says that this is a file, `more` is for /help."""

    name: str
    run: Callable[[Chat, str], None]
    takes: str
    line: str
    more: str = ""
    path: bool = False
    hidden: bool = False


def clear(chat: Chat, argument: str) -> None:
    """Go back to just after the system prompt."""
    gone = chat.dialogue.clear()
    chat.screen.note(f"{_messages(gone)} cleared" + ("; the system prompt stays" if chat.dialogue.system else ""))


def context(chat: Chat, argument: str) -> None:
    """Say how full the context is, and with what."""
    chat.screen.say(report.context(chat))


def dump(chat: Chat, argument: str) -> None:
    """Show the conversation as the model reads it, or write it to a file."""
    chat.need_engine()
    text = chat.wording.text(chat.dialogue.messages, answer=False) if chat.dialogue.messages else ""
    if argument:
        files.write(argument, text)
        chat.screen.note(f"{argument}: {len(text):,} characters written")
    else:
        chat.screen.say(text or "nothing yet")


def leave(chat: Chat, argument: str) -> None:
    """End the chat."""
    raise Leave


def forget(chat: Chat, argument: str) -> None:
    """Drop the oldest message."""
    gone = chat.dialogue.forget()
    chat.screen.note(f"the oldest {_messages(gone)} forgotten" if gone else "there is nothing to forget")


def help_(chat: Chat, argument: str) -> None:
    """List the commands, or explain one."""
    if not argument:
        shown = [command for command in COMMANDS if not command.hidden]
        rows = [(f"{command.name} {command.takes}".rstrip(), command.line) for command in shown]
        width = max(len(left) for left, _ in rows)
        keys = ["", 'Ctrl-J or """ for several lines, Tab completes, Ctrl-C stops an answer, Ctrl-D leaves']
        chat.screen.say("\n".join([*(f"{left:{width}}  {line}" for left, line in rows), *keys]))
        return
    command = find("/" + argument.split()[0].lstrip("/"))
    chat.screen.say(f"{command.name} {command.takes}".rstrip() + f"\n{command.line}. {command.more}".rstrip())


def manual(chat: Chat, argument: str) -> None:
    """Let the user write as any role."""
    if argument not in ("", "on", "off"):
        raise LlamafileError(f"/manual: {argument!r} is neither on nor off")
    chat.manual = not chat.manual if not argument else argument == "on"
    chat.role = ROLES[1]
    chat.screen.note("manual mode: an empty line changes the role, /regen lets the model answer" if chat.manual
                     else "the model answers by itself again")


def pop(chat: Chat, argument: str) -> None:
    """Return to the state that /push kept last."""
    if not chat.dialogue.pop():
        raise LlamafileError("/pop: the stack is empty; /push keeps the present state")
    chat.screen.note(f"back to {_messages(len(chat.dialogue.messages))}; {len(chat.dialogue.stack)} left on the stack")


def push(chat: Chat, argument: str) -> None:
    """Keep the present state for /pop."""
    height = chat.dialogue.push()
    chat.screen.note(f"{_messages(len(chat.dialogue.messages))} kept, {height} on the stack")


def regen(chat: Chat, argument: str) -> None:
    """Write the last answer anew, or the first one to a message that has none."""
    before = list(chat.dialogue.messages)
    again = chat.dialogue.take_answer_back()
    if not again and (not before or before[-1]["role"] not in ROLES[1:]):
        raise LlamafileError("/regen: there is no message to answer")
    if not chat.answer(again=again):
        chat.dialogue.messages = before


def save(chat: Chat, argument: str) -> None:
    """Write the conversation to a file, and with the word `cache` its cells beside it."""
    path, with_cache = (argument[: -len(" cache")].rstrip(), True) if argument.endswith(" cache") else (argument, False)
    files.write(_need(path, "/save"), chat.dialogue.dumps() + "\n")
    told = f"{path}: {_messages(len(chat.dialogue.messages))} saved"
    if with_cache:
        told += f", {chat.save_cache(path + CACHE):,} tokens of its cache in {path}{CACHE}"
    chat.screen.note(told)


def load(chat: Chat, argument: str) -> None:
    """Read a conversation from a file, and its cells where they lie beside it."""
    text = files.read_text(_need(argument, "/load"))
    chat.dialogue.loads(text, argument)
    told = f"{argument}: {_messages(len(chat.dialogue.messages))} loaded"
    chat.screen.note(told)
    chat.load_cache(argument + CACHE)
    chat.show_last()


def stack(chat: Chat, argument: str) -> None:
    """List the states that /push kept."""
    chat.screen.say(report.stack(chat.dialogue))


def stats(chat: Chat, argument: str) -> None:
    """Say how fast the model was."""
    chat.screen.say(report.stats(chat))


def system(chat: Chat, argument: str) -> None:
    """Set the system prompt, or show it."""
    if not argument:
        chat.screen.say(chat.dialogue.system or "there is no system prompt; /system TEXT sets one")
        return
    chat.dialogue.instruct("" if argument == "-" else argument)
    chat.screen.note("the system prompt is gone" if argument == "-" else "system prompt set")


def undo(chat: Chat, argument: str) -> None:
    """Take the last exchange back."""
    before = len(chat.dialogue.messages)
    question = chat.dialogue.undo()
    gone = before - len(chat.dialogue.messages)
    if not gone:
        raise LlamafileError("/undo: there is nothing to take back")
    chat.screen.note(f"{_messages(gone)} taken back: {report.beginning(question or '')}")


def upload_(chat: Chat, argument: str) -> None:
    """Give the model a file to read."""
    name, text = upload.read(_need(argument, "/upload"))
    chat.need_engine()
    tokens = len(chat.wording.ids(text))
    if tokens >= chat.engine.n_ctx:
        raise LlamafileError(f"{name}: has {tokens:,} tokens, the context holds {chat.engine.n_ctx:,}; start with a "
                             "larger -c, or upload a part of it")
    chat.dialogue.add("system", text, file=name)
    chat.screen.note(f"{name}: {tokens:,} tokens; now ask about it")


COMMANDS = (
    Command("/clear", clear, "", "Begin anew after the system prompt"),
    Command("/context", context, "", "Show how full the context is, message by message"),
    Command("/dump", dump, "[FILE]", "Show the conversation as the model reads it, or write it to FILE", path=True),
    Command("/exit", leave, "", "Leave; so do /bye and Ctrl-D"),
    Command("/bye", leave, "", "Leave", hidden=True),
    Command("/quit", leave, "", "Leave", hidden=True),
    Command("/forget", forget, "", "Drop the oldest message after the system prompt",
            "A question goes with its answer. It happens by itself when the context fills up."),
    Command("/help", help_, "[COMMAND]", "List the commands, or explain one"),
    Command("/?", help_, "[COMMAND]", "List the commands", hidden=True),
    Command("/manual", manual, "[on|off]", "Write as any role; the model answers only to /regen",
            "An empty line goes on to the next role: user, assistant, system."),
    Command("/pop", pop, "", "Return to what /push kept last"),
    Command("/push", push, "", "Keep the present state of the conversation"),
    Command("/regen", regen, "", "Write the last answer anew",
            "With --seed the next seed is used, with --temp 0 the answer is the same."),
    Command("/save", save, "FILE", "Save the conversation as JSON; `/save FILE cache` keeps the cache beside it",
            "The cache, FILE.cache, spares reading the conversation again; it grows with the conversation.", True),
    Command("/load", load, "FILE", "Load a conversation, with its cache if there is one",
            "Takes what /save wrote, or a list of messages as the HTTP interface takes it.", True),
    Command("/stack", stack, "", "List what /push kept"),
    Command("/stats", stats, "", "Show tokens a second and the use of the context"),
    Command("/system", system, "[TEXT]", "Set the system prompt, or show it; `-` takes it away"),
    Command("/undo", undo, "", "Take the last question and its answer back"),
    Command("/upload", upload_, "FILE", "Give the model a text file to read", path=True),
)

_BY_NAME = {command.name: command for command in COMMANDS}


def is_command(text: str) -> bool:
    """Whether a line is meant as a command: a slash and one word; a path has more slashes."""
    word = text.split(maxsplit=1)[0] if text[:1] == "/" else ""
    return word in _BY_NAME or (len(word) > 1 and word[1:].isalpha() and word.isascii())


def find(name: str) -> Command:
    """Return a command by its name; raises LlamafileError, naming the one it comes nearest to."""
    command = _BY_NAME.get(name)
    if command is None:
        from difflib import get_close_matches

        near = get_close_matches(name, _BY_NAME, n=1)
        advice = f"did you mean {near[0]}?" if near else "/help lists them"
        raise LlamafileError(f"{name}: no such command; {advice}")
    return command


def run(chat: Chat, line: str) -> None:
    """Run a line that is a command; raises LlamafileError for what is wrong, Leave for the end."""
    name, _, argument = line.strip().partition(" ")
    find(name).run(chat, argument.strip())


def _messages(count: int) -> str:
    return f"{count} message" if count == 1 else f"{count} messages"


def _need(argument: str, name: str) -> str:
    if not argument:
        raise LlamafileError(f"{name}: needs a file; write {name} FILE")
    return argument
