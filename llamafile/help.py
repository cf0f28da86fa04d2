"""Makes --help, shell completion and the man pages from the flag table; `python -m llamafile.help --man llamafile`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click
from click.shell_completion import BashComplete, shell_complete

from llamafile import VERSION, manual
from llamafile.flags import GROUPS, TABLE
from llamafile.flags.row import CHOICE, LATER, LIST, MAYBE, SWITCH, Flag

COMPLETE = "_LLAMAFILE_COMPLETE"
_WIDTH = 100

Pairs = list[tuple[str, str]]
Block = str | Pairs | tuple[str, ...]  # a paragraph, a list of terms, an example
Section = tuple[str, list[Block]]


def show() -> None:
    """Write the help to the standard output, through the user's pager on a terminal."""
    text = as_text(sections())
    if sys.stdout.isatty() and sys.stdin.isatty():
        click.echo_via_pager(text)
    else:
        sys.stdout.write(text)


def complete(instruction: str) -> int:
    """Serve a shell's completion as click does it; `instruction` is bash_source, zsh_complete and the like."""
    return shell_complete(command(), {}, "llamafile", COMPLETE, instruction)


def bash_script() -> str:
    """Return the script that teaches bash the flags."""
    return BashComplete(command(), {}, "llamafile", COMPLETE).source()


def command() -> click.Command:
    """Return the table as a click command: it completes words, and never parses the program's own command line."""
    return click.Command("llamafile", params=[_option(flag) for flag in TABLE], add_help_option=False)


def _option(flag: Flag) -> click.Option:
    kind: click.ParamType | None = None
    if flag.kind in (CHOICE, MAYBE):
        kind = click.Choice(flag.choices)
    elif flag.kind == "path":
        kind = click.Path()
    is_switch = flag.kind == SWITCH
    spellings = [*(flag.names or flag.off)]
    option = click.Option([flag.dest, *spellings], is_flag=is_switch, type=None if is_switch else kind, help=flag.help,
                          multiple=flag.kind == LIST, hidden=flag.status == LATER, metavar=flag.metavar or None)
    option.secondary_opts = list(flag.off)
    return option


def sections() -> list[Section]:
    """Return llamafile's manual: titles and blocks, the flags from the table."""
    found: list[Section] = [
        ("NAME", [f"llamafile - {manual.ONE_LINE}"]),
        ("SYNOPSIS", [manual.SYNOPSIS]),
        ("DESCRIPTION", list(manual.DESCRIPTION)),
        ("COMMANDS", [list(manual.COMMANDS)]),
    ]
    for group, flags in GROUPS:
        pairs = [(spellings(flag), describe(flag)) for flag in flags if flag.status != LATER]
        if pairs:
            note: list[Block] = [manual.GROUP_NOTES[group]] if group in manual.GROUP_NOTES else []
            found.append((f"FLAGS: {group.upper()}", [*note, pairs]))
    coming = ", ".join(name for flag in TABLE if flag.status == LATER for name in flag.names + flag.off)
    found.append(("NOT IN THIS VERSION YET", [f"These flags are known and refused: {coming}."]))
    found += [("FILES", [manual.FILES]), ("ENVIRONMENT", [manual.ENVIRONMENT]), ("EXIT STATUS", [manual.EXIT_CODES])]
    examples: list[Block] = [part for words, lines in manual.EXAMPLES for part in (words, lines)]
    return [*found, ("EXAMPLES", examples), ("SEE ALSO", [manual.SEE_ALSO["llamafile"]])]


def spellings(flag: Flag) -> str:
    """Return all spellings of a flag, with the name of its value."""
    value = ""
    if flag.kind in (CHOICE, MAYBE):
        choices = "|".join(choice for choice in flag.choices if choice not in flag.refused)
        value = f" {choices}" if flag.kind == CHOICE else f" [{choices}]"
    elif flag.takes_value:
        value = " " + "|".join([flag.metavar, *(word for word, _ in flag.words)])
    return ", ".join(flag.names + flag.off) + value


def describe(flag: Flag) -> str:
    """Return a flag's help line with its default, its twin in the environment, and what it does not do."""
    parts = [flag.help]
    if flag.kind not in (SWITCH, LIST) and flag.default not in (None, ""):
        word = next((word for word, number in flag.words if number == flag.default), flag.default)
        parts.append(f"Default: {word}.")
    if flag.note:
        parts.append(f"Has no effect: {flag.note}.")
    if flag.env:
        parts.append(f"[{flag.env}]")
    return " ".join(parts)


def sections_of_command(program: click.Command, name: str) -> list[Section]:
    """Return the manual of a program whose click command says everything."""
    context = click.Context(program, info_name=name)
    usage = " ".join([name, *program.collect_usage_pieces(context)])
    summary, _, rest = (program.help or "").partition("\n\n")
    rows: Pairs = [row for row in (param.get_help_record(context) for param in program.get_params(context)) if row]
    found: list[Section] = [
        ("NAME", [f"{name} - {' '.join(summary.split()).rstrip('.')}"]),
        ("SYNOPSIS", [(usage,)]),
    ]
    paragraphs: list[Block] = [" ".join(part.replace("\b", "").split()) for part in rest.split("\n\n") if part.strip()]
    if paragraphs:
        found.append(("DESCRIPTION", paragraphs))
    found.append(("FLAGS", [rows]))
    if program.epilog:
        found.append(("NOTES", [" ".join(program.epilog.split())]))
    return [*found, ("SEE ALSO", [manual.SEE_ALSO.get(name, "llamafile(1)")])]


def as_text(page: Sequence[Section], width: int = _WIDTH) -> str:
    """Return a manual as plain text, wrapped by click's formatter."""
    out = click.HelpFormatter(width=width)
    for title, blocks in page:
        with out.section(title):
            for block in blocks:
                if isinstance(block, str):
                    out.write_text(block)
                    out.write_paragraph()
                elif isinstance(block, tuple):
                    for line in block:
                        out.write(f"    {line}\n")
                    out.write_paragraph()
                else:
                    out.write_dl(block, col_max=26)
    return out.getvalue()


def as_roff(page: Sequence[Section], name: str) -> str:
    """Return a manual as a man page in the classic man macros."""
    lines = [f'.TH {name.upper()} 1 "" "llamafile {VERSION}"']
    for title, blocks in page:
        lines.append(f'.SH "{_roff(title)}"')
        for block in blocks:
            if isinstance(block, str):
                lines += [".PP", _roff(block)]
            elif isinstance(block, tuple):
                lines += [".PP", ".nf", ".RS 4", *(_roff(line) for line in block), ".RE", ".fi"]
            else:
                for term, text in block:
                    lines += [".TP", f"\\fB{_roff(term)}\\fR", _roff(text)]
    return "\n".join(lines) + "\n"


def _roff(text: str) -> str:
    """Escape what roff would take for a command: backslashes, hyphens, and a line's first dot or quote."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("^", "\\(ha")
    escaped = escaped.replace("~", "\\(ti").replace("`", "\\(ga")
    return "\\&" + escaped if escaped[:1] == "." else escaped


def page_of(name: str) -> list[Section]:
    """Return the manual of one of the programs; KeyError for a name that is none."""
    if name == "llamafile":
        return sections()
    if name == "zipalign":
        from zipalign.cli import command as program

        return sections_of_command(program, name)
    raise KeyError(name)


@click.command()
@click.option("--man", "name", type=click.Choice(["llamafile", "zipalign"]), help="Write this program's man page.")
def main(name: str | None) -> None:
    """Write the help of llamafile, or a man page, to the standard output."""
    sys.stdout.write(as_roff(page_of(name), name) if name else as_text(sections()))


if __name__ == "__main__":
    os.environ.pop(COMPLETE, None)
    main()
