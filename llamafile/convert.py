"""`llamafile convert`: makes one executable of the engine, weights and default arguments, in one step."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import click

from llamafile import args_file, engine, locate, own, subcommand
from llamafile.errors import LlamafileError
from llamafile.gguf import reader
from llamafile.gguf.file import File
from zipalign import ZipError
from zipalign.inflate import contents
from zipalign.progress import bar
from zipalign.reader import Archive
from zipalign.sources import ALIGN, Entry
from zipalign.stop import Stopped, end_by, stoppable
from zipalign.writer import append

SLACK = 4 << 20  # bytes beside head and members: paddings, both directories
EXECUTABLE = 0o755
_PART = re.compile(r"^(.*)-(\d{5})-of-(\d{5})\.gguf$", re.IGNORECASE)


@dataclass
class Weights:
    """What goes in: entries for the GGUF members, their bytes, the name for -m, and an `.args` that came along."""

    entries: list[Entry]
    size: int
    model: str
    args: bytes | None = None


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("-o", "--output", metavar="OUT", help="The file to write; else MODEL's name with .llamafile. Called "
              ".gguf it gets the weights alone.")
@click.option("--engine", "engine_path", metavar="FILE", help="Take the engine of this executable.")
@click.option("--repack/--no-repack", default=None, help="Lay weights out as the processor reads them, which decodes "
              "faster, or make them plain GGUF again; else they stay as they are.")
@click.argument("model", metavar="MODEL")
def command(model: str, output: str | None, engine_path: str | None, repack: bool | None) -> tuple[
        str, str | None, str | None, bool | None]:
    """Make one executable of this engine, the weights and default arguments.

    MODEL is a GGUF file (of one in several parts the first), a ZIP file or llamafile with GGUF members, or a folder
    of GGUF files. What stands behind -- becomes .args: default arguments, with ... where those of the user go.
    """
    return model, output, engine_path, repack


def main(argv: list[str]) -> int:
    """Run `llamafile convert` on its arguments and return the exit status."""
    own_words, arguments = _split(argv)
    given = subcommand.read(command, "convert", own_words, "--help tells more")
    if not given:
        return 0
    model, output, engine_path, repack = given
    try:
        with stoppable():
            convert(model, output, engine_path, arguments, repack)
    except Stopped as stopped:
        end_by(stopped.number)
    return 0


def convert(model: str, output: str | None, engine_path: str | None, arguments: Sequence[str] | None,
            repack: bool | None = None) -> str:  # fmt: skip
    """Write the executable and return its path; raises LlamafileError or ZipError, and then leaves nothing behind.

    An output called .gguf gets the weights alone. repack says whether weights are laid out or plain in it; None leaves
    them as they are.
    """
    target = _target(model, output)
    if target.lower().endswith(".gguf"):
        return _write_gguf(model, target, arguments, repack)
    with contextlib.ExitStack() as stack:
        box = stack.enter_context(Archive.open(_engine(engine_path)))
        if engine.STAMP not in box.members:
            raise LlamafileError(f"{box.label}: has no engine in it; name an executable llamafile by --engine")
        weights = _weights(model, stack, repack)
        _check_space(target, box, weights.size)
        with _replacing(target) as temporary:
            _assemble(temporary, box, weights, _args(weights, arguments))
            _try_out(temporary, weights.model)
    print(f"{target}: {os.stat(target).st_size:,} bytes; run it as {_as_command(target)}", file=sys.stderr)
    return target


def _write_gguf(model: str, target: str, arguments: Sequence[str] | None, repack: bool | None) -> str:
    """Write a model's weights as one GGUF file and return its path."""
    from llamafile.gguf import layout

    if arguments is not None:
        raise LlamafileError(f"{target}: a GGUF file holds no default arguments; name it .llamafile, or leave them out")
    with locate.open_model(model) as file:
        if len(file.mappings) > 1:
            raise LlamafileError(f"{target}: {model} has {len(file.mappings)} parts, which only a llamafile takes; "
                                 "name it .llamafile")
        with (_replacing(target) as temporary, open(temporary, "xb") as out,
              bar(file.mappings[0].length) as progress):  # fmt: skip
            for piece in layout.file_bytes(file, 0, repack):
                progress(out.write(piece))
    print(f"{target}: {os.stat(target).st_size:,} bytes of GGUF", file=sys.stderr)
    return target


@contextlib.contextmanager
def _replacing(target: str) -> Iterator[str]:
    """Hand out a name beside the target; what is written there becomes the target, and a failure leaves nothing."""
    temporary = os.path.join(os.path.dirname(target) or ".", f".{os.path.basename(target)}.{os.getpid()}")
    try:
        yield temporary
        os.replace(temporary, target)
    except OSError as problem:
        raise LlamafileError(f"{target}: cannot be written: {problem.strerror}; choose another by -o") from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _split(argv: list[str]) -> tuple[list[str], list[str] | None]:
    """Part the arguments at the first --; None where there is none."""
    if "--" not in argv:
        return argv, None
    at = argv.index("--")
    return argv[:at], argv[at + 1 :]


def _target(model: str, output: str | None) -> str:
    if output is None:
        name = os.path.basename(os.path.normpath(model))
        part = _PART.match(name)
        target = (part[1] if part else os.path.splitext(name)[0]) + ".llamafile"
        if os.path.exists(target):
            raise LlamafileError(f"{target}: exists already; name it by -o to replace it")
        return target
    if os.path.isdir(output):
        raise LlamafileError(f"{output}: is a folder; name a file by -o")
    if os.path.exists(output) and os.path.exists(model) and os.path.samefile(output, model):
        raise LlamafileError(f"{output}: is the model itself; choose another name by -o")
    return output


def _engine(path: str | None) -> str:
    """Return the executable whose engine is taken: the one named, this one, or the one built from these sources."""
    found = path or own.path()
    if found is None:
        found = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "build", "llamafile")
        if not os.path.exists(found):
            raise LlamafileError(f"{found}: there is no engine yet; build it: make executable")
    return found


def _weights(model: str, stack: contextlib.ExitStack, repack: bool | None) -> Weights:
    if os.path.isdir(model):
        weights = _of_folder(model)
        return _rearranged(weights, lambda name: reader.open_path(os.path.join(model, name)), stack, repack)
    archive = locate.archive_at(model)
    if archive is not None:
        box = stack.enter_context(archive)
        weights = _of_archive(box)
        inside = {os.path.basename(name): name for name in box.members}
        return _rearranged(weights, lambda name: _stored(box, inside[name]), stack, repack)
    weights = _of_files(_parts(model), os.path.basename(model), None)
    return _rearranged(weights, lambda name: reader.open_path(model), stack, repack)


def _stored(archive: Archive, name: str) -> File:
    """Open a member in place, which one that is compressed cannot be."""
    if archive.members[name].method:
        raise LlamafileError(f"{archive.label}@{name}: is compressed; make a llamafile of it first, and give that one "
                             "with this option")
    return locate.open_member(archive, name)


def _rearranged(weights: Weights, opened: Callable[[str], File], stack: contextlib.ExitStack,
                lay: bool | None) -> Weights:  # fmt: skip
    """Let every GGUF member be made of the model's bytes in the other form; sizes and names stay."""
    from llamafile.gguf import layout

    if lay is None:
        return weights
    made = {}
    for first in [entry.name for entry in weights.entries if not locate.is_later_part(entry.name)]:
        file = stack.enter_context(opened(first))
        for part, name in enumerate(_part_names(first, len(file.mappings))):
            made[name] = Entry(name, layout.file_bytes(file, part, lay), mode=0o644)
    entries = [made.get(entry.name, entry) for entry in weights.entries]
    return Weights(entries, weights.size, weights.model, weights.args)


def _part_names(first: str, count: int) -> list[str]:
    part = _PART.match(first)
    if part is None:
        return [first]
    return [f"{part[1]}-{number:05}-of-{part[3]}{first[-5:]}" for number in range(1, count + 1)]


def _of_folder(folder: str) -> Weights:
    """Take all GGUF files of a folder, and its `.args`."""
    names = sorted(name for name in os.listdir(folder) if name.lower().endswith(".gguf"))
    firsts = [name for name in names if not locate.is_later_part(name)]
    if not firsts:
        raise LlamafileError(f"{folder}: holds no .gguf file; name another folder")
    args_path, args = os.path.join(folder, locate.ARGS), None
    if os.path.isfile(args_path):
        args = locate.read_bytes(args_path)
    model = firsts[0] if len(firsts) == 1 else ""
    return _of_files([os.path.join(folder, name) for name in names], model, args)


def _of_files(paths: list[str], model: str, args: bytes | None) -> Weights:
    for path in paths:
        if not locate.is_later_part(path):
            reader.open_path(path).close()  # says what is wrong with it before anything is written
    entries = [Entry(os.path.basename(path), path, mode=0o644) for path in paths]
    return Weights(entries, sum(os.stat(path).st_size for path in paths), model, args)


def _parts(path: str) -> list[str]:
    """Return all parts of a model in several files, given the first; the path alone for one in one file."""
    part = _PART.match(path)
    if part is None:
        return [path]
    whole = int(part[3])
    found = [f"{part[1]}-{number:05}-of-{part[3]}{path[-5:]}" for number in range(1, whole + 1)]
    if int(part[2]) != 1:
        raise LlamafileError(f"{path}: is part {int(part[2])} of {whole}; name the first, {found[0]}")
    return found


def _of_archive(archive: Archive) -> Weights:
    """Take all GGUF members of an archive, stored or compressed, and its `.args`."""
    members = [member for name, member in archive.members.items() if name.lower().endswith(".gguf")]
    firsts = locate.weights(archive)
    if not firsts:
        raise LlamafileError(f"{archive.label}: holds no .gguf member; name another file")
    entries = [_entry(archive, member.name, os.path.basename(member.name)) for member in members]
    given = archive.members.get(locate.ARGS)
    model = os.path.basename(firsts[0]) if len(firsts) == 1 else ""
    return Weights(entries, sum(member.size for member in members), model, archive.read(given) if given else None)


def _entry(archive: Archive, member: str, name: str, align: int = ALIGN) -> Entry:
    """Return the entry that takes a member over, stored, whatever it was compressed by."""
    source = contents(archive, archive.members[member])
    return Entry(name, source, mode=0o644, align=align)  # type: ignore[arg-type]  # chunks may be memoryviews


def _args(weights: Weights, arguments: Sequence[str] | None) -> bytes:
    """Return the `.args` to put in: what was typed, else what came along, else only the model's name."""
    if arguments is None and weights.args is not None:
        return weights.args
    words = list(arguments or ())
    if not set(words) & {"-m", "--model"}:
        if not weights.model:
            names = ", ".join(entry.name for entry in weights.entries[:4])
            raise LlamafileError(f"convert: there are several models ({names}); choose one: -- -m {locate.INSIDE}NAME")
        words = ["-m", locate.INSIDE + weights.model, *words]
    return args_file.written(words)


def _check_space(target: str, box: Archive, size: int) -> None:
    """Refuse to begin what the disk has no room for."""
    place = os.path.dirname(target) or "."
    needed = engine.HEAD_SIZE + sum(box.members[name].compressed for name in _engine_names(box)) + size + SLACK
    try:
        disk = os.statvfs(place)
    except OSError as problem:
        raise LlamafileError(f"{place}: cannot be written to: {problem.strerror}; choose another place by -o") from None
    free = disk.f_bavail * disk.f_frsize
    if free < needed:
        raise LlamafileError(f"{target}: needs {needed >> 20} MiB, and {place} has {free >> 20} MiB left; make room, "
                             "or choose another place by -o")


def _assemble(path: str, box: Archive, weights: Weights, args: bytes) -> None:
    """Write head, engine, weights and `.args`; the engine's part is byte for byte what the build made."""
    with open(path, "xb") as file:
        file.write(os.pread(box.fd, engine.HEAD_SIZE - engine.RECORD_SIZE, 0).ljust(engine.HEAD_SIZE, b"\0"))
    append(path, [_entry(box, name, name, align=1) for name in _engine_names(box)])
    with open(path, "r+b") as file:
        file.seek(engine.HEAD_SIZE - engine.RECORD_SIZE)
        file.write(engine.record_for(path))
    with bar(weights.size) as progress:
        append(path, [*weights.entries, Entry(locate.ARGS, args)], progress=progress)
    os.chmod(path, EXECUTABLE)


def _engine_names(box: Archive) -> list[str]:
    """Return the engine's members in the build's order: the stamp, then the rest by name."""
    names = sorted(name for name in box.members if engine.is_engine_member(name) and name != engine.STAMP)
    return [engine.STAMP, *names]


def _try_out(path: str, model: str) -> None:
    """Open the model in the finished file: what was compressed could not be looked at before."""
    with Archive.open(path) as archive:
        try:
            for name in [model] if model else locate.weights(archive):
                locate.open_member(archive, name).close()
        except (LlamafileError, ZipError) as problem:
            raise LlamafileError(str(problem).replace(path + "@", "")) from None


def _as_command(target: str) -> str:
    return target if os.path.dirname(target) else f"./{target}"
