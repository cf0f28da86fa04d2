"""What the reader finds in real files, as the gguf package does, and in made ones of every version; what it refuses."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest
from gguf import GGUFReader

from llamafile.errors import LlamafileError
from llamafile.gguf.reader import Array, open_path
from tests.weights import Unavailable, fetch

from .craft import CODES, EVERY_TYPE, TWO_TENSORS, craft, text


@pytest.fixture
def opened(tmp_path):
    """Return a function that writes bytes to a file and opens it."""
    files = []

    def open_bytes(data, name="model.gguf"):
        (tmp_path / name).write_bytes(data)
        files.append(open_path(tmp_path / name))
        return files[-1]

    yield open_bytes
    for file in files:
        file.close()


def refusal(tmp_path, data):
    """Write bytes to a file and return the line by which open_path refuses it."""
    path = tmp_path / "bad.gguf"
    path.write_bytes(data)
    with pytest.raises(LlamafileError) as caught:
        open_path(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "; " in message and message.isprintable()
    return message


def real(name):
    try:
        return fetch(name)
    except Unavailable as problem:
        pytest.skip(str(problem))


@pytest.mark.models
@pytest.mark.parametrize("name", ["smollm2", "tinycoder"])
def test_real_files_as_the_gguf_package_sees_them(name):
    path = real(name)
    theirs = GGUFReader(path)
    with open_path(path) as ours:
        for key, field in theirs.fields.items():
            if not key.startswith("GGUF."):
                mine = ours.keys[key]
                assert (mine.tolist() if isinstance(mine, Array) else mine) == field.contents(), key
        assert len(ours.keys) == theirs.fields["GGUF.kv_count"].contents()
        assert list(ours.tensors) == [tensor.name for tensor in theirs.tensors]
        for tensor in theirs.tensors:
            mine = ours.tensors[tensor.name]
            assert (mine.type, list(mine.ne)) == (tensor.tensor_type, tensor.shape.tolist())
            assert (mine.offset, mine.nbytes, mine.mapping) == (tensor.data_offset, tensor.n_bytes, 0)
            first = ctypes.string_at(ours.mappings[0].address + mine.offset, min(mine.nbytes, 4096))
            assert first == tensor.data.tobytes()[:4096]


@pytest.mark.parametrize("version", [1, 2, 3])
def test_every_type_in_every_version(opened, version):
    file = opened(craft(EVERY_TYPE, TWO_TENSORS, version))
    assert file.version == version
    for name, type, content in EVERY_TYPE:
        mine = file.keys[name]
        if type == 9:
            assert (mine.type, len(mine), mine.tolist()) == (content[0], len(content[1]), content[1])
            assert mine.tolist(limit=2) == content[1][:2]
            raw = bytes(file.mappings[mine.mapping].view[mine.offset : mine.offset + mine.nbytes])
            whole = [text(one, mine.width) if content[0] == 8 else struct.pack("<" + CODES[content[0]], one)
                     for one in content[1]]
            assert raw == b"".join(whole)
        else:
            assert mine == content
    for name, type, ne, data in TWO_TENSORS:
        tensor = file.tensors[name]
        assert (tensor.type, tensor.ne, tensor.nbytes) == (type, ne, len(data))
        assert ctypes.string_at(file.mappings[0].address + tensor.offset, tensor.nbytes) == data


def test_version_1_strings_may_end_in_zero(opened):
    file = opened(craft([("general.name\0", 8, "tiny\0")], [("output.weight\0", 0, (8,), bytes(32))], version=1))
    assert file.keys == {"general.name": "tiny"}
    assert list(file.tensors) == ["output.weight"]


@pytest.mark.parametrize("alignment", [8, 16, 32, 64, 4096, 65536])
def test_alignments(opened, alignment):
    keys = [("general.alignment", 4, alignment)]
    tensors = [("a", 0, (9,), b"a" * 36), ("b", 0, (9,), b"b" * 36)]
    file = opened(craft(keys, tensors, alignment=alignment))
    assert file.alignment == alignment
    for name, *_, data in tensors:
        tensor = file.tensors[name]
        assert tensor.offset % alignment == 0
        assert ctypes.string_at(file.mappings[0].address + tensor.offset, 36) == data


def test_many_records_are_walked_again(opened):
    keys = [(f"key.{i}", 4, i) for i in range(700)]
    tensors = [(f"blk.{i}", 0, (1, 1, 2, 1), struct.pack("<2f", i, -i)) for i in range(3000)]
    file = opened(craft(keys, tensors))
    assert file.keys == {name: value for name, _, value in keys}
    assert [tensor.ne for tensor in file.tensors.values()] == [(1, 1, 2, 1)] * 3000


def test_unknown_format_opens_but_is_not_used(opened):
    file = opened(craft([], [("odd", 12345, (7,), bytes(32)), ("iq", 16, (256,), bytes(66)), ("f", 0, (1,), bytes(4))]))
    assert (file.tensors["odd"].nbytes, file.tensors["iq"].nbytes) == (0, 66)
    with pytest.raises(LlamafileError, match="tensor odd has format id 12345, which this build cannot read; "):
        file.need_tensor("odd")
    with pytest.raises(LlamafileError, match=r"tensor iq has format id 16 \(IQ2_XXS\), which this build cannot read; "):
        file.need_tensor("iq")
    with pytest.raises(LlamafileError, match="tensor none is missing; "):
        file.need_tensor("none")
    assert file.need_tensor("f") is file.tensors["f"]


def test_text_that_is_not_utf8_is_shown(opened):
    assert opened(craft([("general.name", 8, b"caf\xe9")])).keys == {"general.name": "caf�"}


def test_typed_access(opened):
    file = opened(craft([("n", 4, 7), ("neg", 5, -7), ("f", 6, 0.5), ("nan", 6, float("nan")), ("t", 8, "x" * 999),
                         ("b", 7, True), ("ints", 9, (5, [1, 2, 3])), ("texts", 9, (8, ["a"])), ("zero", 4, 0)]))
    assert (file.get("n"), file.get("none"), file.get("none", 3), file.need("t")) == (7, None, 3, "x" * 999)
    assert (file.integer("n"), file.integer("none", 5), file.integer("none", None)) == (7, 5, None)
    assert (file.number("f"), file.number("n"), file.number("none", None), file.number("none", 1)) == (0.5, 7, None, 1)
    assert (file.text("t"), file.flag("b"), file.flag("none", False)) == ("x" * 999, True, False)
    assert file.integers("ints", 3) == [1, 2, 3]
    assert file.integers("n", 2) == [7, 7]
    assert file.integers("none", 2, 9) == [9, 9]
    assert file.array("ints", 5) is file.keys["ints"]
    assert file.array("none", 5, None) is None
    for ask, complaint in [
        (lambda: file.need("none"), "key none is missing; "),
        (lambda: file.integer("none"), "key none is missing; "),
        (lambda: file.number("none"), "key none is missing; "),
        (lambda: file.integers("none", 3), "key none is missing; "),
        (lambda: file.array("none", 5), "key none is missing; "),
        (lambda: file.integer("neg"), "key neg is -7, expected an integer from 0 to 2147483647; "),
        (lambda: file.integer("n", low=8), "key n is 7, expected an integer from 8 "),
        (lambda: file.integer("zero", 0, low=1), "key zero is 0, expected an integer from 1 "),
        (lambda: file.integer("b"), "key b is True, expected an integer"),
        (lambda: file.integer("f", 1), "key f is 0.5, expected an integer"),
        (lambda: file.number("nan"), "key nan is nan, expected a number"),
        (lambda: file.number("t"), f"key t is '{'x' * 60}', expected a number"),
        (lambda: file.text("n"), "key n is 7, expected text"),
        (lambda: file.flag("n"), "key n is 7, expected true or false"),
        (lambda: file.integers("ints", 4), "key ints is <3 of i32>, expected 4 integers"),
        (lambda: file.integers("ints", 3, high=2), "key ints is <3 of i32>, expected 3 integers"),
        (lambda: file.array("texts", 5), "key texts is <1 of string>, expected an array of i32; "),
        (lambda: file.array("n", 5), "key n is 7, expected an array of i32; "),
    ]:
        with pytest.raises(LlamafileError) as caught:
            ask()
        assert f"{file.label}: {complaint}" in str(caught.value)


@pytest.mark.parametrize("data", [b"GGUF", craft(EVERY_TYPE, TWO_TENSORS), craft([("split.count", 2, 2)])])
def test_no_descriptor_is_left_open(tmp_path, data):
    (tmp_path / "m-00001-of-00002.gguf").write_bytes(data)
    (tmp_path / "m-00002-of-00002.gguf").write_bytes(data)
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        with contextlib.suppress(LlamafileError):
            open_path(tmp_path / "m-00001-of-00002.gguf").close()
    assert os.listdir("/proc/self/fd") == before


def test_closing_gives_back_file_and_memory(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(craft(EVERY_TYPE, TWO_TENSORS))
    file = open_path(path)
    fd, array = file.mappings[0].fd, file.keys["array.text"]
    file.close()
    file.close()
    with pytest.raises(ValueError):
        array.tolist()
    with pytest.raises(OSError):
        os.fstat(fd)


def test_what_is_not_gguf(tmp_path):
    assert "is empty or cut off" in refusal(tmp_path, b"")
    assert "is something else, not GGUF" in refusal(tmp_path, b"1234")
    assert "is cut off after 5 bytes" in refusal(tmp_path, b"GGUF\3")
    assert "is a ZIP archive, not GGUF" in refusal(tmp_path, b"PK\3\4" + bytes(99))
    assert "is a GGML file from before GGUF" in refusal(tmp_path, b"tjgg" + bytes(99))
    assert "perhaps a Git LFS pointer" in refusal(tmp_path, b"version https://git-lfs.github.com/spec/v1\n")
    assert "is GGUF version 4" in refusal(tmp_path, b"GGUF\4\0\0\0" + bytes(99))
    assert "is GGUF version 0" in refusal(tmp_path, b"GGUF\0\0\0\0" + bytes(99))
    assert "is a GGUF for big-endian machines" in refusal(tmp_path, b"GGUF\0\0\0\3" + bytes(99))


def test_paths_that_cannot_be_opened(tmp_path):
    with pytest.raises(LlamafileError, match=r"none\.gguf: does not exist; "):
        open_path(tmp_path / "none.gguf")
    with pytest.raises(LlamafileError, match="is not a file; "):
        open_path(tmp_path)


BAD = {
    "key twice": (craft([("a", 0, 1), ("a", 0, 2)]), "key a is there twice"),
    "tensor twice": (craft([], [("a", 0, (8,), bytes(32))] * 2), "tensor a is there twice"),
    "empty name": (craft([("", 0, 1)]), "a name is empty (key 1, byte 32)"),
    "empty tensor name": (craft([], [("", 0, (8,), bytes(32))]), "a name is empty (tensor 1, "),
    "long name": (craft([("n" * 65536, 0, 1)]), "a name is longer than 65535 bytes"),
    "name with control characters": (craft([("a\nb", 0, 1)]), "the name of a key at byte 32 has control characters"),
    "name that is not UTF-8": (craft([], [(b"\xff", 0, (8,), bytes(32))]), "name of a tensor at byte 32 is not UTF-8"),
    "long text that is not UTF-8": (craft([("a", 8, b"\xff" * 70000)]), "key a at byte 45 is not UTF-8"),
    "type 13": (craft([("a", 0, 1)]).replace(b"a\0\0\0\0", b"a\r\0\0\0"), "a value has an unknown type (key 1"),
    "element type 13": (craft([("a", 9, (0, [1]))]).replace(b"a\t\0\0\0\0", b"a\t\0\0\0\r"), "of an unknown type"),
    "array of arrays": (craft([("a", 9, (9, []))]), "an array has arrays as elements"),
    "alignment 0": (craft([("general.alignment", 4, 0)]), "general.alignment is 0, expected"),
    "alignment 4": (craft([("general.alignment", 4, 4)]), "general.alignment is 4, expected"),
    "alignment 24": (craft([("general.alignment", 4, 24)]), "is 24, expected a power of two from 8 on"),
    "alignment text": (craft([("general.alignment", 8, "32")]), "general.alignment is '32', expected an integer"),
    "5 dimensions": (craft([], [("a", 0, (1,) * 5, bytes(4))]), "a tensor has more than 4 dimensions"),
    "dimension 0": (craft([], [("a", 0, (8, 0), bytes(32))]), "tensor a has a dimension of 0"),
    "half blocks": (craft([], [("a", 2, (48, 2), bytes(54))]), "tensor a has rows of 48, no multiple of the 32"),
    "offset off alignment": (craft([], [("a", 0, (8,), bytes(64))], offsets=[8]), "tensor a lies at byte 8, no "),
    "offset behind the file": (craft([], [("a", 0, (8,), bytes(32))], offsets=[32]), "tensor a ends at byte 128, the"),
    "offset 2^64-32": (craft([], [("a", 0, (8,), bytes(32))], offsets=[2**64 - 32]), "tensor a ends at byte 18446744"),
    "cut data": (craft([], [("a", 0, (8,), bytes(32))])[:-1], "tensor a ends at byte 96, the file at 95"),
    "shape of 2^64 bytes": (craft([], [("a", 0, (2**32, 2**30), bytes(32))]), "tensor a ends at byte 18446744"),
    "shape overflows 64 bits": (craft([], [("a", 0, (2**63, 2, 2**63, 2), bytes(32))]), "tensor a ends at byte "),
    "unknown format behind the file": (craft([], [("a", 99, (1,), b"")], offsets=[2**20]), "tensor a ends at byte"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_in_one_line(tmp_path, name):
    data, complaint = BAD[name]
    assert complaint in refusal(tmp_path, data)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_every_truncation_is_refused(tmp_path, version):
    path = tmp_path / "cut.gguf"
    path.write_bytes(craft(EVERY_TYPE, TWO_TENSORS, version))
    for length in reversed(range(path.stat().st_size)):
        os.truncate(path, length)
        with pytest.raises(LlamafileError, match=r"; (it is .*, )?(download|give)"):
            open_path(path)


@pytest.mark.parametrize("counts", [(0, 1), (0, 65536), (0, 2**32 - 1), (131072, 0), (131073, 0), (2**32 - 1, 1),
                                    (0, 65537), (2**63, 2**63), (2**64 - 1, 0)])
def test_a_lying_count_costs_nothing(tmp_path, counts):
    data = craft(counts=counts) + bytes(1 << 20)
    tracemalloc.start()
    try:
        refusal(tmp_path, data)
        start, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        begin = time.process_time()
        with pytest.raises(LlamafileError):
            open_path(tmp_path / "bad.gguf")
        assert time.process_time() - begin < 1
        assert tracemalloc.get_traced_memory()[1] - start < 1 << 18
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("type", [*CODES, 8])
@pytest.mark.parametrize("count", [2, 2**31, 2**61, 2**62, 2**63, 2**64 - 1])
def test_an_array_that_lies_about_its_length(tmp_path, type, count):
    head = craft([("a", 9, (type, []))])
    data = head[:-8] + count.to_bytes(8, "little")
    assert "longer than the file (key 1, " in refusal(tmp_path, data)


@pytest.mark.parametrize("length", [1, 2**31, 2**63, 2**64 - 1])
def test_strings_that_lie_about_their_length(tmp_path, length):
    lie = length.to_bytes(8, "little")
    assert "a string is longer than the file" in refusal(tmp_path, craft([("a", 8, "")])[:-8] + lie)
    assert "an array of strings is longer" in refusal(tmp_path, craft([("a", 9, (8, ["b", ""]))])[:-8] + lie)


def test_a_huge_hole_is_refused_at_once(tmp_path):
    path = tmp_path / "hole.gguf"
    with open(path, "wb") as out:
        out.write(craft([("a", 9, (8, []))])[:-8] + (2**32).to_bytes(8, "little"))
        out.truncate(1 << 36)
    begin = time.process_time()
    with pytest.raises(LlamafileError, match="an array of strings is longer than the file"):
        open_path(path)
    assert time.process_time() - begin < 1


LITTLE_SPACE = """
import resource, sys
from llamafile.errors import LlamafileError
from llamafile.gguf.reader import open_path
resource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31))
try:
    open_path(sys.argv[1])
except LlamafileError as problem:
    print(problem)
"""


def test_a_file_that_does_not_fit_into_the_address_space(tmp_path):
    path = tmp_path / "big.gguf"
    path.write_bytes(craft(EVERY_TYPE, TWO_TENSORS))
    os.truncate(path, 1 << 33)
    done = subprocess.run([sys.executable, "-c", LITTLE_SPACE, path], capture_output=True, text=True, check=True,
                          cwd=Path(__file__).resolve().parents[2])
    assert done.stdout.startswith(f"{path}: 8589934592 bytes cannot be mapped into memory (")
    assert len(done.stdout.splitlines()) == 1


def test_a_128k_vocabulary_opens_quickly(tmp_path):
    tokens = [f"token{i}" for i in range(128_000)]
    keys = [*EVERY_TYPE, ("tokens", 9, (8, tokens)), ("merges", 9, (8, [f"{t} {t}" for t in tokens] * 2))]
    path = tmp_path / "big.gguf"
    path.write_bytes(craft(keys, [(f"blk.{i}.attn_norm.weight", 0, (8,), bytes(32)) for i in range(300)]))
    times = []
    for _ in range(10):
        begin = time.process_time()
        open_path(path).close()
        times.append(time.process_time() - begin)
    assert min(times) < 0.03, times  # 3 ms on an idle machine; a walk in Python takes 100
