"""Files that we write, read by the gguf package; files that it writes, read by us; copies; and writing that fails."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter
from hypothesis import given, settings
from hypothesis import strategies as st

from llamafile.errors import LlamafileError
from llamafile.gguf.reader import Array, open_path
from llamafile.gguf.writer import copied_keys, copied_tensor, tensor_size, write
from runtime.quants import BY_ID
from tests.weights import Unavailable, fetch

from .craft import EVERY_TYPE, TWO_TENSORS, craft

RANGES = {0: (0, 255), 1: (-128, 127), 2: (0, 65535), 3: (-32768, 32767), 4: (0, 2**32 - 1), 5: (-(2**31), 2**31 - 1),
          10: (0, 2**64 - 1), 11: (-(2**63), 2**63 - 1)}
SCALARS = {
    **{type: st.integers(*pair) for type, pair in RANGES.items()},
    6: st.floats(width=32, allow_nan=False), 7: st.booleans(), 12: st.floats(allow_nan=False),
    8: st.text(st.characters(codec="utf-8"), max_size=20),
}
NAMES = st.text(st.characters(codec="ascii", categories=["L", "N"], include_characters="._"), min_size=1, max_size=20)


def value_of(type):
    return st.tuples(st.just(type), SCALARS[type])


def array_of(type):
    """Arrays are not empty here: the gguf package cannot write such."""
    return st.tuples(st.just(9), st.tuples(st.just(type), st.lists(SCALARS[type], min_size=1, max_size=9)))


KEYS = st.dictionaries(NAMES.map("x.{}".format), st.one_of([value_of(type) for type in SCALARS]
                                                           + [array_of(type) for type in SCALARS]), max_size=12)
SHAPES = st.dictionaries(NAMES, st.tuples(
    st.sampled_from([0, 1, 2, 8, 12, 30]), st.integers(1, 3), st.lists(st.integers(1, 4), max_size=3)), max_size=6)
ALIGNMENTS = st.sampled_from([None, 8, 32, 64, 4096])


def made(shapes, seed=0):
    """Return (name, type, ne, data) of random bytes for drawn shapes: a number of blocks, then the outer dimensions."""
    random = np.random.default_rng(seed)
    out = []
    for name, (type, blocks, outer) in shapes.items():
        ne = (blocks * BY_ID[type].block, *outer)
        out.append((name, type, ne, random.integers(0, 256, tensor_size(type, ne), dtype=np.uint8).tobytes()))
    return out


def same_tensors(ours, tensors):
    assert list(ours.tensors) == [name for name, *_ in tensors]
    for name, type, ne, data in tensors:
        tensor = ours.tensors[name]
        assert (tensor.type, tensor.ne) == (type, ne)
        assert bytes(ours.mappings[0].view[tensor.offset : tensor.offset + tensor.nbytes]) == data


def plain(value):
    return value.tolist() if isinstance(value, Array) else value


@settings(max_examples=60, deadline=None)
@given(KEYS, SHAPES, ALIGNMENTS)
def test_ours_read_by_theirs(tmp_path_factory, keys, shapes, alignment):
    path = tmp_path_factory.mktemp("w") / "m.gguf"
    listed = [(name, type, value) for name, (type, value) in keys.items()]
    if alignment:
        listed.insert(len(listed) // 2, ("general.alignment", 4, alignment))
    tensors = made(shapes)
    write(path, listed, [(name, type, ne, [data[:5], memoryview(data)[5:]]) for name, type, ne, data in tensors])
    theirs = GGUFReader(path)
    assert [name for name in theirs.fields if not name.startswith("GGUF.")] == [name for name, _, _ in listed]
    for name, type, value in listed:
        field = theirs.fields[name]
        assert field.types[0] == type
        if type != 9:
            assert field.contents() == value
        else:
            assert (field.types[1], field.contents()) == value
    assert [t.name for t in theirs.tensors] == [name for name, *_ in tensors]
    for tensor, (_, type, ne, data) in zip(theirs.tensors, tensors, strict=True):
        assert (tensor.tensor_type, tuple(tensor.shape.tolist()), tensor.data.tobytes()) == (type, ne, data)
        assert tensor.data_offset % (alignment or 32) == 0
    with open_path(path) as ours:
        assert {name: plain(value) for name, value in ours.keys.items()} == {
            name: value[1] if type == 9 else value for name, type, value in listed}
        same_tensors(ours, tensors)


@settings(max_examples=60, deadline=None)
@given(KEYS, SHAPES, ALIGNMENTS)
def test_theirs_read_by_ours(tmp_path_factory, keys, shapes, alignment):
    path, tensors = tmp_path_factory.mktemp("w") / "m.gguf", made(shapes)
    writer = GGUFWriter(path, "llama")
    if alignment:
        writer.add_custom_alignment(alignment)
    for name, (type, value) in keys.items():
        if type == 9:
            writer.add_key_value(name, value[1], GGUFValueType.ARRAY, sub_type=GGUFValueType(value[0]))
        else:
            writer.add_key_value(name, value, GGUFValueType(type))
    for name, type, ne, data in tensors:
        row = BY_ID[type].row_size(ne[0])
        writer.add_tensor(name, np.frombuffer(data, np.uint8).reshape(*reversed(ne[1:]), row),
                          raw_dtype=GGMLQuantizationType(type))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with open_path(path) as ours:
        found = {name: plain(value) for name, value in ours.keys.items() if name.startswith("x.")}
        assert found == {name: value[1] if type == 9 else value for name, (type, value) in keys.items()}
        assert (ours.alignment, ours.text("general.architecture")) == (alignment or 32, "llama")
        same_tensors(ours, tensors)


@pytest.mark.models
def test_a_copy_of_a_real_file_is_that_file(tmp_path):
    try:
        path = fetch("tinycoder")
    except Unavailable as problem:
        pytest.skip(str(problem))
    with open_path(path) as file:
        write(tmp_path / "copy.gguf", copied_keys(file), [copied_tensor(file, t) for t in file.tensors.values()])
    assert (tmp_path / "copy.gguf").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("version", [1, 2, 3])
def test_copies_change_only_what_was_asked(tmp_path, version):
    (tmp_path / "a.gguf").write_bytes(craft(EVERY_TYPE, TWO_TENSORS, version))
    with open_path(tmp_path / "a.gguf") as file:
        keys = [*copied_keys(file, without={"scalar.I", "none"}), ("scalar.I", 4, 99)]
        write(tmp_path / "b.gguf", keys, [copied_tensor(file, t) for t in file.tensors.values()])
    kept = [key for key in EVERY_TYPE if key[0] != "scalar.I"]
    assert (tmp_path / "b.gguf").read_bytes() == craft([*kept, ("scalar.I", 4, 99)], TWO_TENSORS) + bytes(28)


def test_a_copy_keeps_alignment_and_odd_text(tmp_path):
    keys = [("general.name", 8, b"caf\xe9\0"), ("general.alignment", 4, 128)]
    (tmp_path / "a.gguf").write_bytes(craft(keys, TWO_TENSORS, alignment=128))
    with open_path(tmp_path / "a.gguf") as file:
        write(tmp_path / "b.gguf", copied_keys(file), [copied_tensor(file, t) for t in file.tensors.values()])
    assert (tmp_path / "b.gguf").read_bytes() == craft(keys, TWO_TENSORS, alignment=128) + bytes(128 - 36)


def test_a_format_of_unknown_size_is_not_copied(tmp_path):
    (tmp_path / "a.gguf").write_bytes(craft([], [("odd", 12345, (7,), bytes(32))]))
    with open_path(tmp_path / "a.gguf") as file, pytest.raises(LlamafileError, match="tensor odd has format id 12345"):
        copied_tensor(file, file.tensors["odd"])


def test_a_file_may_be_written_over_while_it_is_open(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(craft(EVERY_TYPE, TWO_TENSORS))
    link = tmp_path / "link.gguf"
    link.symlink_to(path)
    with open_path(path) as file:
        write(link, [("general.name", 8, "new")], [copied_tensor(file, t) for t in file.tensors.values()])
        assert file.keys["array.text"].tolist() == ["", "a", "żółć", "the end"]
    assert link.is_symlink()
    with open_path(path) as file:
        assert file.keys == {"general.name": "new"}
        same_tensors(file, list(TWO_TENSORS))
    assert sorted(os.listdir(tmp_path)) == ["link.gguf", "m.gguf"]


@pytest.mark.parametrize("chunks, complaint", [
    ([bytes(31)], "1 bytes too short"), ([bytes(32), b"x"], "1 bytes too long"), ([], "32 bytes too short")])
def test_chunks_of_another_size_are_a_bug(tmp_path, chunks, complaint):
    with pytest.raises(ValueError, match=complaint):
        write(tmp_path / "m.gguf", [], [("a", 0, (8,), chunks)])
    assert os.listdir(tmp_path) == []


def test_a_failure_half_way_leaves_the_old_file(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(b"old")

    def chunks():
        yield bytes(1 << 20)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(path, [], [("a", 0, (1 << 20,), chunks())])
    assert os.listdir(tmp_path) == ["m.gguf"]
    assert path.read_bytes() == b"old"


def test_places_where_nothing_can_be_written(tmp_path):
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "none" / "m.gguf", tmp_path / "folder"):
        with pytest.raises(LlamafileError, match=r"cannot be written: .*; free some space or choose another place"):
            write(path, [], [])
    assert os.listdir(tmp_path) == ["folder"]


FULL = """
import sys
from llamafile.errors import LlamafileError
from llamafile.gguf.writer import write
try:
    write(sys.argv[1], [], [("a", 0, (1 << 22,), (bytes(1 << 16) for _ in range(256)))])
except LlamafileError as problem:
    print(problem)
"""


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    def little_room():  # a limit on the file's size stops write() where a full disk would, with another number
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    done = subprocess.run([sys.executable, "-c", FULL, tmp_path / "m.gguf"], capture_output=True, text=True,
                          preexec_fn=little_room, cwd=Path(__file__).resolve().parents[2])
    assert done.stdout == (f"{tmp_path}/m.gguf: cannot be written: {os.strerror(errno.EFBIG)}; free some space or "
                           "choose another place\n"), done.stderr
    assert os.listdir(tmp_path) == []
