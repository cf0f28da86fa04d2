"""`llamafile info FILE`: what is in a GGUF, a llamafile or a ZIP, for people or as JSON."""

from __future__ import annotations

import math
import os

from llamafile import locate, subcommand
from llamafile.engine import STAMP, is_engine_member
from llamafile.errors import LlamafileError
from llamafile.gguf.file_types import FILE_TYPES
from llamafile.gguf.reader import Array, open_path
from llamafile.gguf.values import NAMES
from runtime.quants import BY_ID, title
from zipalign import ZipError
from zipalign.reader import Archive

FIRST = 4  # elements of an array that are shown
WIDTH = 88  # characters of a value that are shown to people
METHODS = {0: "stored", 8: "deflated", 9: "deflate64"}
ENGINE_LIMIT = 1 << 16  # bytes of the member that names the engine; a bigger one is none of ours
GUESSED = 1024  # a bit of general.file_type: nobody said it, a program guessed


def main(argv):
    """Print what is in the file that argv names, and return the exit status."""
    import click

    @click.command(help="Show what is in FILE: metadata and tensors of a GGUF; members, engine and models of a "
                        "llamafile or ZIP. ARCHIVE@MEMBER is one model in an archive.")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with every text in full.")
    @click.argument("file")
    def info(file, as_json):
        return file, as_json

    given = subcommand.read(info, "info", argv, "give a file, as in: llamafile info model.gguf")
    if given:
        file, as_json = given
        found = describe(file)
        if as_json:
            import json

            click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        else:
            click.echo("\n".join(_archive_lines(found) if "members" in found else _model_lines(found)))
    return 0


def describe(name):
    """Return what is in a file as a dict of plain values: with "members" for an archive, with "tensors" for a model."""
    if os.path.isfile(name) and not name.lower().endswith(".gguf"):
        with open(name, "rb") as file:
            magic = file.read(4)
        if magic != b"GGUF":
            with Archive.open(name) as archive:
                return _archive(archive)
    with open_path(name) if os.path.exists(name) else locate.open_model(name) as model:
        return _model(model)


def _model(model):
    kind = model.get("general.file_type")
    tensors = [_tensor(tensor) for tensor in model.tensors.values()]
    formats: dict[str, dict[str, int]] = {}
    for tensor in tensors:
        total = formats.setdefault(tensor["format"], {"tensors": 0, "parameters": 0, "bytes": 0})
        total["tensors"] += 1
        total["parameters"] += math.prod(tensor["shape"])
        total["bytes"] += tensor["bytes"]
    return {
        "file": model.label, "gguf": model.version, "alignment": model.alignment, "parts": len(model.mappings),
        "bytes": sum(mapping.length for mapping in model.mappings),
        "architecture": model.get("general.architecture"), "name": model.get("general.name"),
        "file_type": FILE_TYPES.get(kind & ~GUESSED) if type(kind) is int else None,
        "parameters": sum(total["parameters"] for total in formats.values()),
        "formats": formats, "keys": {key: _value(value) for key, value in model.keys.items()}, "tensors": tensors,
    }  # fmt: skip


def _tensor(tensor):
    readable = tensor.type in BY_ID and BY_ID[tensor.type].readable
    return {"name": tensor.name, "format": title(tensor.type), "shape": list(tensor.ne), "bytes": tensor.nbytes,
            "offset": tensor.offset, "part": tensor.mapping + 1, "readable": readable}


def _value(value):
    """Return a key's value as JSON has it: an array as its type, count and first elements."""
    if isinstance(value, Array):
        return {"type": NAMES[value.type], "count": len(value), "first": [_value(v) for v in value.tolist(FIRST)]}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _archive(archive):
    engine = archive.members.get(STAMP)
    facts = {}
    if engine is not None and engine.size <= ENGINE_LIMIT:
        for line in archive.read(engine).decode("utf-8", "replace").splitlines():
            word, _, rest = line.partition(" ")
            facts[word] = rest
    members = [_member(archive, member) for member in archive.members.values()]
    return {"file": archive.label, "bytes": archive.size, "interrupted": archive.interrupted, "engine": facts,
            "members": sorted(members, key=lambda member: member["offset"]),
            "models": [_model_inside(archive, name) for name in locate.weights(archive)]}


def _member(archive, member):
    offset = archive.data_offset(member)
    return {"name": member.name, "method": METHODS.get(member.method, f"method {member.method}"), "offset": offset,
            "alignment": offset & -offset, "bytes": member.size, "compressed": member.compressed,
            "engine": is_engine_member(member.name)}


def _model_inside(archive, name):
    try:
        with locate.open_member(archive, name) as model:
            return _model(model)
    except (LlamafileError, ZipError) as problem:
        return {"file": f"{archive.label}@{name}", "problem": str(problem)}


def _archive_lines(found):
    members, own = found["members"], [member for member in found["members"] if member["engine"]]
    yield f"{_printable(found['file'])}: archive, {len(members)} members, {_bytes(found['bytes'])}"
    if found["interrupted"] is not None:
        yield f"  zipalign was interrupted: shown is what was whole, up to byte {found['interrupted']}"
    if found["engine"]:
        yield "  engine " + ", ".join(f"{word} {_shown(fact)}" for word, fact in found["engine"].items()
                                      if word not in ("head", "digest"))
    yield f"  {'offset':>14}  {'aligned to':>10}  {'method':9}  {'size':>10}  member"
    for member in members:
        if not member["engine"]:
            yield (f"  {member['offset']:14}  {member['alignment']:10}  {member['method']:9}  "
                   f"{_bytes(member['bytes']):>10}  {_printable(member['name'])}")
    if own:
        yield f"  and {len(own)} members of the engine, {_bytes(sum(member['bytes'] for member in own))}"
    for model in found["models"]:
        yield ""
        if "problem" in model:
            yield _printable(model["problem"])
        else:
            yield from _model_lines(model)


def _model_lines(model):
    parts = f" in {model['parts']} parts" if model["parts"] > 1 else ""
    kind = f", {model['file_type']}" if model["file_type"] else ""
    yield (f"{_printable(model['file'])}: GGUF version {model['gguf']}{parts}, {_bytes(model['bytes'])}, "
           f"{_shown(model['architecture'])}, {_count(model['parameters'])} parameters{kind}")
    yield f"  {len(model['keys'])} keys"
    wide = max((len(key) for key in model["keys"]), default=0)
    for key, value in model["keys"].items():
        yield f"    {key:{wide}}  {_shown(value)}"
    yield f"  {len(model['tensors'])} tensors, data aligned to {model['alignment']}"
    wide = max((len(tensor["name"]) for tensor in model["tensors"]), default=0)
    for tensor in model["tensors"]:
        shape = " x ".join(map(str, tensor["shape"]))
        refused = "" if tensor["readable"] else "  (this build cannot read the format)"
        yield f"    {tensor['name']:{wide}}  {tensor['format']:8}  {shape}  {_bytes(tensor['bytes'])}{refused}"
    yield f"  {len(model['formats'])} formats"
    for name, total in model["formats"].items():
        yield (f"    {name:8}  {total['tensors']:5} tensors  {_count(total['parameters']):>8} parameters  "
               f"{_bytes(total['bytes']):>10}")


def _shown(value):
    """Return a value as one line of printable characters."""
    if isinstance(value, dict):
        more = ", ..." if value["count"] > len(value["first"]) else ""
        return f"[{', '.join(map(_quoted, value['first']))}{more}] ({value['count']} x {value['type']})"
    if isinstance(value, float):
        return f"{value:.7g}"  # most are 32 bits wide
    if not isinstance(value, str):
        return str(value).lower() if isinstance(value, bool) else str(value)
    cut = f"... ({len(value)} characters)" if len(value) > WIDTH else ""
    return _printable(value[:WIDTH]) + cut


def _printable(text):
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _quoted(value):
    return f'"{_shown(value)}"' if isinstance(value, str) else _shown(value)


def _bytes(size):
    return _scaled(size, 1024, ("bytes", "KiB", "MiB", "GiB"))


def _count(number):
    return _scaled(number, 1000, ("", "K", "M", "B")).rstrip()


def _scaled(number, step, units):
    index = 0
    while number >= step and index < len(units) - 1:
        number, index = number / step, index + 1
    return f"{number:.1f} {units[index]}" if index else f"{number} {units[0]}"
