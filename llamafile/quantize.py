"""`llamafile quantize IN OUT TYPE`: writes a model's weights in another mix of formats."""

from __future__ import annotations

import os
import sys
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor

from llamafile import subcommand
from llamafile.errors import LlamafileError
from llamafile.gguf import layout
from llamafile.gguf.file_types import FILE_TYPES
from llamafile.gguf.reader import open_path
from llamafile.gguf.values import U32
from llamafile.gguf.writer import copied_keys, copied_tensor, write
from llamafile.quantize_mixes import MIXES, Plan, Request
from runtime._core import ffi, lib
from runtime.quants import BY_ID, FORMATS, laid_out
from runtime.threads import physical_cores

ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}
PIECE = 1 << 18  # elements that one thread converts at a time
VERSION = 2  # of the layout of blocks, for general.quantization_version
PARTS = ("split.no", "split.count", "split.tensors.count")  # keys of a model in parts, which the result is not


def main(argv):
    """Convert the file that argv names; return the exit status."""
    import click

    @click.command(help="Write the model IN to OUT with its weights in the formats of TYPE, one of "
                        f"{', '.join(MIXES)} or COPY, or its number. Without OUT: ggml-model-TYPE.gguf beside IN.")
    @click.option("--allow-requantize", is_flag=True, help="Convert tensors that are quantized already, at a loss.")
    @click.option("--leave-output-tensor", is_flag=True, help="Leave output.weight as it is.")
    @click.option("--pure", is_flag=True, help="The same format for all matrices instead of a mix.")
    @click.option("--output-tensor-type", metavar="FORMAT", help="The format of output.weight.")
    @click.option("--token-embedding-type", metavar="FORMAT", help="The format of token_embd.weight.")
    @click.argument("words", nargs=-1, required=True, metavar="IN [OUT] TYPE [THREADS]")
    def quantize(allow_requantize, leave_output_tensor, pure, output_tensor_type, token_embedding_type, words):
        source, target, kind, threads = read_words(words)
        return source, target, Request(kind, allow_requantize, leave_output_tensor, pure,
                                       format_named(output_tensor_type), format_named(token_embedding_type)), threads

    given = subcommand.read(quantize, "quantize", argv,
                            "write it as in: llamafile quantize model.gguf smaller.gguf Q4_K_M")
    if given:
        convert(*given)
    return 0


def read_words(words):
    """Return input, output, file type and number of threads from IN [OUT] TYPE [THREADS]."""
    source, *rest = words
    if rest and type_named(rest[0]):
        rest.insert(0, os.path.join(os.path.dirname(source), f"ggml-model-{type_named(rest[0])}.gguf"))
    if len(rest) < 2 or not type_named(rest[1]):
        wrong = f"{rest[min(1, len(rest) - 1)]} is no type that can be written" if rest else "the type is missing"
        raise LlamafileError(f"quantize: {wrong}; choose one of {', '.join(MIXES)} or COPY")
    target, kind, *count = rest
    if len(count) > 1 or (count and not (count[0].isdecimal() and 0 < int(count[0]) <= 4096)):
        raise LlamafileError(f"quantize: {' '.join(count)} is no number of threads; give one from 1 to 4096, or none")
    return source, target, type_named(kind), int(count[0]) if count else physical_cores()


def type_named(word):
    """Return the file type that a word or number names, or None."""
    name = FILE_TYPES.get(int(word), "") if word.isdecimal() else word.upper()
    name = ALIASES.get(name, name)
    return name if name in MIXES or name == "COPY" else None


def format_named(word):
    """Return the Format that a word names; None for None."""
    if word is None:
        return None
    found = FORMATS.get(word.lower())
    if not found or not found.computed:
        names = ", ".join(repr(f) for f in FORMATS.values() if f.computed)
        raise LlamafileError(f"quantize: {word} is no format that can be written; choose one of {names}")
    return found


def convert(source, target, request, threads):
    """Write the model at `source` to `target` as requested, and tell on stderr what came of it."""
    with open_path(source) as file:
        if os.path.exists(target) and any(os.path.samestat(os.stat(target), os.fstat(m.fd)) for m in file.mappings):
            raise LlamafileError(f"{target}: is the input too; choose another name for the output")
        plan = Plan(file, request)
        formats = [(tensor, plan.format_of(tensor)) for tensor in file.tensors.values()]
        with ThreadPoolExecutor(threads) as pool, progress(formats) as bar:
            write(target, keys(file, request), [
                (tensor.name, form.id, tensor.ne, counted(pieces(file, tensor, form, pool, threads), bar))
                for tensor, form in formats])
        tell(target, formats)


def keys(file, request):
    """Return the keys of the new file: the old ones, and what it is now."""
    if request.kind == "COPY":
        return copied_keys(file, PARTS)
    number = next(number for number, name in FILE_TYPES.items() if name == request.kind)
    return [*copied_keys(file, (*PARTS, "general.file_type", "general.quantization_version")),
            ("general.quantization_version", U32, VERSION), ("general.file_type", U32, number)]


def pieces(file, tensor, form, pool, threads):
    """Yield a tensor's bytes in a format, in order; the threads of the pool work a little ahead."""
    if form.id == tensor.type:
        yield from copied_tensor(file, tensor)[3]
        return
    rows, step = tensor_rows(tensor), max(1, PIECE // tensor.ne[0])
    if BY_ID[tensor.type].plain:
        step = -(-step // laid_out.ROWS) * laid_out.ROWS
    ahead: deque = deque()
    for first in range(0, rows, step):
        ahead.append(pool.submit(convert_rows, file, tensor, form, first, min(step, rows - first)))
        if len(ahead) > 2 * threads:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()


def tensor_rows(tensor):
    """Return how many rows of ne[0] elements a tensor has."""
    rows = 1
    for extent in tensor.ne[1:]:
        rows *= extent
    return rows


def convert_rows(file, tensor, form, first, rows):
    """Decode and encode rows of a tensor; return their bytes in the new format."""
    old, n = BY_ID[tensor.type], rows * tensor.ne[0]
    address = file.mappings[tensor.mapping].address + tensor.offset + first * old.row_size(tensor.ne[0])
    if old.plain:
        old, plain = old.plain, layout.plain_rows(tensor, address, rows)
        if form is old:
            return plain
        address = int(ffi.cast("uintptr_t", ffi.from_buffer(plain)))
    numbers = ffi.cast("float *", address)
    if old.name != "f32":
        numbers = ffi.new("float[]", n)
        lib.lf_decode_rows(old.id, ffi.cast("void *", address), numbers, n)
    out = bytearray(rows * form.row_size(tensor.ne[0]))
    done = lib.lf_encode_rows(form.id, numbers, ffi.from_buffer(out), n)
    if done != n:
        row, column = divmod(done, tensor.ne[0])
        raise LlamafileError(f"{file.label}: tensor {tensor.name} has {numbers[done]:g} in row {first + row}, column "
                             f"{column}, which {form!r} cannot hold; the model may be damaged, download it again")
    return out


def progress(formats):
    """Return a progress bar over the bytes to be written, which shows itself on a terminal only."""
    from tqdm import tqdm

    total = sum(tensor_rows(tensor) * form.row_size(tensor.ne[0]) for tensor, form in formats)
    return tqdm(total=total, unit="B", unit_scale=True, desc="quantize", disable=None, leave=False)


def counted(chunks, bar):
    """Pass chunks on and advance the bar by each."""
    for chunk in chunks:
        yield chunk
        bar.update(len(chunk))


def tell(target, formats):
    """Say on stderr what was written: size, bits a weight, formats."""
    size, elements = os.path.getsize(target), sum(tensor_rows(tensor) * tensor.ne[0] for tensor, _ in formats)
    count = Counter(repr(form) for _, form in formats)
    which = ", ".join(f"{n} {name}" for name, n in count.most_common())
    sys.stderr.write(f"{target}: {size / 2**20:.1f} MiB, {size * 8 / max(1, elements):.2f} bits a weight: {which}\n")
