"""Models in several parts, and models that lie inside another file at any offset."""

from __future__ import annotations

import ctypes
import mmap
import os
import re

import pytest

from llamafile.errors import LlamafileError
from llamafile.gguf.reader import open_path, open_region

from .craft import EVERY_TYPE, TWO_TENSORS, craft

PARTS = [f"model-{i:05}-of-00003.gguf" for i in (1, 2, 3)]


def part(number, count=3, tensors=4, keys=(), data=b""):
    """Return the bytes of part `number` (from 0), with one tensor in the second part and so on; none in the first."""
    split = [("split.no", 2, number), ("split.count", 2, count), ("split.tensors.count", 5, tensors)]
    return craft([*keys, *split], [(f"blk.{number}.{c}", 0, (8,), bytes([number, ord(c)]) * 16) for c in data.decode()])


WHOLE = [part(0, keys=EVERY_TYPE), part(1, data=b"ab"), part(2, data=b"cd")]


def check(file):
    """Check that all tensors of WHOLE are there, in order, with their data."""
    assert list(file.tensors) == ["blk.1.a", "blk.1.b", "blk.2.c", "blk.2.d"]
    assert len(file.mappings) == 3
    assert file.keys["general.architecture"] == "llama"
    for name, tensor in file.tensors.items():
        number = int(name[4])
        assert tensor.mapping == number
        data = ctypes.string_at(file.mappings[number].address + tensor.offset, tensor.nbytes)
        assert data == bytes([number, ord(name[-1])]) * 16


def lay(folder, parts=WHOLE, names=PARTS):
    for name, data in zip(names, parts, strict=True):
        (folder / name).write_bytes(data)
    return folder / names[0]


def test_parts_beside_the_first(tmp_path, monkeypatch):
    with open_path(lay(tmp_path)) as file:
        check(file)
    monkeypatch.chdir(tmp_path)
    with open_path(PARTS[0]) as file:
        check(file)


def test_a_later_part_names_the_first(tmp_path):
    lay(tmp_path)
    with pytest.raises(LlamafileError, match=f"{PARTS[1]}: is part 2 of 3; give the first part, {PARTS[0]}$"):
        open_path(tmp_path / PARTS[1])


@pytest.mark.parametrize("parts, names, complaint", [
    (WHOLE[:2], PARTS[:2], f"{PARTS[2]}: is missing beside {PARTS[0]}; put all 3 parts in one place"),
    (WHOLE, ["a.gguf", *PARTS[1:]], "a.gguf: is part 1 of 3, but its name does not end in -00001-of-00003.gguf; "),
    ([WHOLE[0], WHOLE[2], WHOLE[1]], PARTS, f"{PARTS[1]}: is not part 2 of 3; "),
    ([WHOLE[0], WHOLE[1], part(2, count=4)], PARTS, f"{PARTS[2]}: is not part 3 of 3; "),
    ([WHOLE[0], WHOLE[1], craft()], PARTS, f"{PARTS[2]}: is not part 3 of 3; "),
    ([WHOLE[0], WHOLE[1], b"GGUF"], PARTS, f"{PARTS[2]}: is cut off after 4 bytes; "),
    ([WHOLE[0], WHOLE[1], part(2, data=b"cde")], PARTS, "its 3 parts hold 5 tensors, expected 4; "),
    ([WHOLE[0], WHOLE[1], part(2, data=b"cc")], PARTS, "tensor blk.2.c is there twice; "),
    ([part(0, count=65535)], [PARTS[0].replace("00003", "65535")], "model-00002-of-65535.gguf: is missing beside "),
    ([part(3)], PARTS[:1], "key split.no is 3, expected an integer from 0 to 2; "),
])
def test_incomplete_parts(tmp_path, parts, names, complaint):
    with pytest.raises(LlamafileError, match=re.escape(complaint)):
        open_path(lay(tmp_path, parts, names))


def boxed(tmp_path, pieces, start, gap=0):
    """Write pieces into one file, the first at `start`, junk between; return the open file and their places."""
    path, places, at = tmp_path / "box", [], start
    with open(path, "wb") as out:
        for data in pieces:
            out.write(b"\xaa" * (at - out.tell()) + data)
            places.append((at, len(data)))
            at += len(data) + -len(data) % 32 + gap
        out.write(b"\xaa" * 5000)
    return open(path, "rb"), places


@pytest.mark.parametrize("start", [0, 32, 4096, 4128, 65536, 65536 + 96, mmap.ALLOCATIONGRANULARITY * 3 - 32])
def test_a_model_inside_a_bigger_file(tmp_path, start):
    box, [(offset, length)] = boxed(tmp_path, [craft(EVERY_TYPE, TWO_TENSORS)], start)
    with box:
        file = open_region(box.fileno(), offset, length, "box@model.gguf")
    with file:  # which outlives the descriptor that it was made with
        mapping = file.mappings[0]
        assert os.pread(mapping.fd, 4, mapping.file_offset) == b"GGUF"
        assert (mapping.length, mapping.file_offset) == (length, offset)
        assert ctypes.string_at(mapping.address, 4) == bytes(mapping.view[:4]) == b"GGUF"
        assert file.keys["array.text"].tolist() == ["", "a", "żółć", "the end"]
        for name, _, _, data in TWO_TENSORS:
            tensor = file.tensors[name]
            assert (mapping.address + tensor.offset) % 32 == 0
            assert ctypes.string_at(mapping.address + tensor.offset, tensor.nbytes) == data


def test_a_region_ends_where_it_ends(tmp_path):
    box, [(offset, length)] = boxed(tmp_path, [craft(EVERY_TYPE, TWO_TENSORS)], 64)
    with box:
        for complaint, place in [("ends at byte", (offset, length - 1)), ("is empty or cut off", (offset, 1 << 20)),
                                 ("is empty or cut off", (offset, 0)), ("is empty or cut off", (-64, length)),
                                 ("is something else, not GGUF", (offset + 32, length - 32))]:
            with pytest.raises(LlamafileError, match=complaint):
                open_region(box.fileno(), *place, "box@model.gguf")


@pytest.mark.parametrize("start", [1, 8, 16, 4097, 65536 + 47])
def test_a_region_off_alignment(tmp_path, start):
    modest = craft([("general.alignment", 4, 8)], TWO_TENSORS, alignment=8)
    box, [(offset, length), (second, size)] = boxed(tmp_path, [craft(EVERY_TYPE, TWO_TENSORS), modest], start)
    with box:
        with pytest.raises(LlamafileError, match=r"box@m\.gguf: its tensors lie at byte .* not on a multiple of 32; "):
            open_region(box.fileno(), offset, length, "box@m.gguf")
        if second % 8 == 0:  # the file itself promises no more than 8
            with open_region(box.fileno(), second, size, "box@m.gguf") as file:
                tensor = file.tensors["blk.1.weight"]
                assert ctypes.string_at(file.mappings[0].address + tensor.offset, tensor.nbytes) == TWO_TENSORS[1][3]


def test_metadata_alone_may_lie_anywhere(tmp_path):
    box, [(offset, length)] = boxed(tmp_path, [craft(EVERY_TYPE)], 4099)
    with box, open_region(box.fileno(), offset, length, "box@vocabulary.gguf") as file:
        assert file.keys["array.d"].tolist() == [0.0, 1.0, 1.0]
        assert file.keys["scalar.d"] == 1.0


@pytest.mark.parametrize("label", ["box@" + PARTS[0], "/zip/" + PARTS[0], "a@b/box@in/" + PARTS[0], PARTS[0]])
def test_parts_inside_one_file(tmp_path, label):
    box, places = boxed(tmp_path, WHOLE, 4096 + 32, gap=3200)
    asked = []

    def sibling(name):
        asked.append(name)
        offset, length = places[PARTS.index(name)]
        return box.fileno(), offset, length, f"box@{name}"

    with box, open_region(box.fileno(), *places[0], label, sibling) as file:
        check(file)
    assert asked == PARTS[1:]


def test_parts_inside_one_file_that_lacks_one(tmp_path):
    box, places = boxed(tmp_path, WHOLE[:1], 0)
    with box:
        for sibling in (None, lambda name: None):
            with pytest.raises(LlamafileError, match=f"{PARTS[1]}: is missing beside {PARTS[0]}"):
                open_region(box.fileno(), *places[0], f"box@{PARTS[0]}", sibling)
