"""The zipalign command: adds files to an archive, removes members, lists and checks them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable
from io import TextIOWrapper

import click

from zipalign import ZipError, records
from zipalign.progress import bar
from zipalign.reader import Archive
from zipalign.sources import ALIGN, LARGEST_ALIGN, Entry
from zipalign.writer import append

METHODS = {records.STORED: "stored", records.DEFLATED: "deflated", records.DEFLATE64: "deflate64"}

HELP = f"""Add FILEs to the archive ZIP, which may be an executable, and is created where there is none.

Members are stored, and their data begin on multiples of {ALIGN} bytes, so that they can be mapped into memory. A
member of the same name is replaced. Bytes that are in the file already are never moved: new ones are appended, then a
new directory. A run that fails leaves ZIP as it was; after one that was killed the members are those of before, and
the next run drops what it left.

A member is named as its FILE without a leading /, ./ or ../; see -j. All members have one date; see -N. The archive is
the same in every time zone.
"""


def printable(text: str) -> str:
    """Escape text in which a member's name would play tricks on a terminal."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()


class _Level(click.Option):
    """One of the options -0 to -9; the last one given counts."""

    def __init__(self, level: int):
        what = {0: "Store (the default).", 1: "Deflate, fastest.", 9: "Deflate, smallest."}
        super().__init__([f"-{level}", f"level{level}"], is_flag=True, expose_value=False, help=what.get(level),
                         hidden=level not in what, callback=self._keep)
        self._level = level

    def _keep(self, context: click.Context, _: click.Parameter, given: bool) -> None:
        if given:
            context.meta["level"] = self._level


def _power(_: click.Context, __: click.Parameter, value: int | None) -> int | None:
    """Refuse an alignment that is no power of two."""
    if value is not None and not (1 <= value <= LARGEST_ALIGN and value & value - 1 == 0):
        raise click.BadParameter(f"{value} is not a power of two between 1 and {LARGEST_ALIGN}")
    return value


@click.command(help=HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("-v", "verbose", is_flag=True, help="Print each path and its member's name on stderr.")
@click.option("-N", "own_time", is_flag=True, help="Give members the time their files were last changed.")
@click.option("-j", "junk", is_flag=True, help="Name members without their folders.")
@click.option("-a", "align", metavar="INT", type=int, callback=_power,
              help=f"Align data to a power of two; {ALIGN} by default.")
@click.option("-r", "--remove", is_flag=True, help="Remove the members named instead of adding files.")
@click.option("-l", "--list", "listing", is_flag=True,
              help="List members (or those named): where data begin, their alignment, sizes, method, name.")
@click.option("--check", is_flag=True, help="Read everything and report damage, overlap and, with -a, alignment.")
@click.option("--force-zip64", "zip64", is_flag=True, help="Write ZIP64 records where none are needed.")
@click.option("--wait", metavar="SECONDS", type=click.FloatRange(min=0),
              help="Give up when another run is at work on ZIP for so long; else waits.")
@click.argument("archive", metavar="ZIP", type=click.Path(readable=False))
@click.argument("files", metavar="[FILE]...", nargs=-1, type=click.Path(readable=False))
@click.pass_context
def command(context: click.Context, archive: str, files: tuple[str, ...], *, verbose: bool, own_time: bool, junk: bool,
            align: int | None, remove: bool, listing: bool, check: bool, zip64: bool, wait: float | None) -> None:
    """Do the one thing that was asked for."""
    if remove + listing + check > 1:
        raise click.UsageError("--remove, --list and --check exclude each other.")
    if listing:
        _list(archive, files)
    elif check:
        _check(archive, align)
    elif remove:
        append(archive, [], remove=files, zip64=zip64, wait=wait)
    else:
        level = context.meta.get("level", 0)
        entries = [_entry(path, junk, level, align or ALIGN, own_time) for path in files]
        if verbose:
            for entry in entries:
                click.echo(f"{entry.source!s} -> {entry.name}", err=True)
        with bar(sum(map(_size, files))) as progress:
            append(archive, entries, progress=progress, zip64=zip64, wait=wait)


for _level in range(10):
    command.params.insert(4 + _level, _Level(_level))


def _entry(path: str, junk: bool, level: int, align: int, own_time: bool) -> Entry:
    """Make the entry of a file: named by its path without what leads out of the archive, or by its last part."""
    name = os.path.basename(path) if junk else os.path.normpath(path).lstrip("/")
    while name.startswith("../"):
        name = name[3:]
    mtime = None
    if own_time:
        try:
            mtime = int(os.stat(path).st_mtime)
        except OSError as problem:
            raise ZipError(f"{path}: cannot be read: {problem.strerror}; check the path") from problem
    return Entry(name, path, level=level, align=align, mtime=mtime)


def _size(path: str) -> int:
    """A file's size, or 0 where it has none: the writer says what is wrong with it."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _list(path: str, names: Iterable[str]) -> None:
    """Print a line for each member."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    with Archive.open(path) as archive:
        if archive.interrupted is not None:
            click.echo(f"zipalign: {path}: packaging was interrupted or is still under way; these are the members of "
                       "before", err=True)
        print(f"{'offset':>16} {'aligned':>10} {'size':>16} {'packed':>16} method    name")
        for name in names or archive.members:
            member = archive.members.get(name)
            if member is None:
                raise ZipError(f"{path}: has no member {name}; see what it has: zipalign --list {path}")
            offset = archive.data_offset(member)
            print(f"{offset:16} {min(offset & -offset, LARGEST_ALIGN):10} {member.size:16} {member.compressed:16} "
                  f"{METHODS.get(member.method, member.method):9} {printable(name)}")


def _check(path: str, align: int | None) -> None:
    """Print what is wrong with an archive; raise ZipError where anything is."""
    from zipalign.check import check as checked  # brings the decompressors: adding members goes without

    count = 0
    with bar(_size(path)) as progress:
        for line in checked(path, align, progress):
            count += 1
            click.echo(f"zipalign: {printable(line)}", err=True)
    if count:
        raise ZipError(f"{path}: {count} problem{'s' * (count > 1)} found; see above")
    with Archive.open(path) as archive:
        loose = sum(1 for m in archive.members.values() if m.method == records.STORED and m.size and
                    archive.data_offset(m) % ALIGN)
        note = f", {loose} of them not on multiples of {ALIGN}" if loose else ""
        print(f"{path}: {len(archive.members)} members{note}: good")
