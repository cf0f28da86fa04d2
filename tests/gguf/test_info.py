"""`llamafile info`: what it says of models and archives, to people and as JSON."""

from __future__ import annotations

import json
import zipfile

import pytest
from gguf import GGUFReader

from llamafile import info
from llamafile.errors import LlamafileError
from tests.weights import Unavailable, fetch
from zipalign import ZipError

from .craft import EVERY_TYPE, TWO_TENSORS, craft


def lines(capsys, *argv):
    assert info.main([str(word) for word in argv]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    return said.out.splitlines()


def facts(capsys, *argv):
    return json.loads("\n".join(lines(capsys, "--json", *argv)))


def put(archive, name, data, align=32, method=zipfile.ZIP_STORED):
    """Add a member whose data begin on a multiple of `align`."""
    member = zipfile.ZipInfo(name)
    member.compress_type = method
    start = archive.fp.tell() + 30 + len(name.encode())
    if -start % align:
        length = -(start + 4) % align
        member.extra = b"\xfe\xca" + length.to_bytes(2, "little") + bytes(length)
    archive.writestr(member, data)


def real(name):
    try:
        return fetch(name)
    except Unavailable as problem:
        pytest.skip(str(problem))


@pytest.mark.models
def test_a_real_model(capsys):
    path = real("tinycoder")
    theirs = GGUFReader(path)
    found = facts(capsys, path)
    assert found["parameters"] == sum(int(tensor.n_elements) for tensor in theirs.tensors)
    assert [(t["name"], t["format"], t["shape"], t["bytes"], t["offset"]) for t in found["tensors"]] == [
        (t.name, t.tensor_type.name, t.shape.tolist(), t.n_bytes, t.data_offset) for t in theirs.tensors]
    assert list(found["keys"]) == [key for key in theirs.fields if not key.startswith("GGUF.")]
    for form, total in found["formats"].items():
        of_it = [t for t in theirs.tensors if t.tensor_type.name == form]
        assert total == {"tensors": len(of_it), "parameters": sum(int(t.n_elements) for t in of_it),
                         "bytes": sum(int(t.n_bytes) for t in of_it)}
    tokens = theirs.fields["tokenizer.ggml.tokens"]
    assert found["keys"]["tokenizer.ggml.tokens"] == {
        "type": "string", "count": len(tokens.data), "first": tokens.contents(slice(4))}
    assert found["bytes"] == path.stat().st_size
    said = lines(capsys, path)
    assert len(said) < len(found["keys"]) + len(found["tensors"]) + 10
    assert max(map(len, said[1:])) < 200


@pytest.mark.models
def test_a_real_model_in_words(capsys):
    path = real("smollm2")
    said = lines(capsys, path)
    assert said[0] == f"{path}: GGUF version 3, 93.8 MiB, llama, 134.5 M parameters, Q4_1"
    assert "    token_embd.weight          Q8_0      576 x 49152  28.7 MiB" in said
    assert "    llama.attention.layer_norm_rms_epsilon  1e-05" in said
    assert said[-4] == "  3 formats"
    assert said[-1] == "    Q4_1        210 tensors   106.2 M parameters    63.3 MiB"


def test_what_a_file_says_cannot_break_the_lines(capsys, tmp_path):
    keys = [("general.architecture", 8, "lla\nma"), ("general.name", 8, "\x1b[2Jé\tß"), ("general.file_type", 8, "x"),
            ("long", 8, "ab\n" * 1000), ("nan", 6, float("nan")), ("yes", 7, True), ("big", 10, 2**64 - 1),
            ("texts", 9, (8, ["a\n", "b", "c", "d", "e"])), ("none", 9, (8, []))]
    (tmp_path / "m.gguf").write_bytes(craft(keys, [("odd", 12345, (7,), bytes(32)), ("iq", 16, (256,), bytes(66))]))
    said = lines(capsys, tmp_path / "m.gguf")
    assert all(line.isprintable() for line in said)
    assert r"lla\nma, 263 parameters" in said[0]
    assert r"    general.name          \x1b[2Jé\tß" in said
    assert r'    texts                 ["a\n", "b", "c", "d", ...] (5 x string)' in said
    assert "    none                  [] (0 x string)" in said
    assert "    yes                   true" in said
    assert "    big                   18446744073709551615" in said
    assert any(line.endswith("... (3000 characters)") for line in said)
    assert "    odd  format 12345  7  0 bytes  (this build cannot read the format)" in said
    assert "    iq   IQ2_XXS   256  66 bytes  (this build cannot read the format)" in said
    found = facts(capsys, tmp_path / "m.gguf")
    assert found["keys"]["long"] == "ab\n" * 1000
    assert (found["keys"]["nan"], found["keys"]["big"], found["file_type"]) == ("nan", 2**64 - 1, None)


def test_a_file_without_anything(capsys, tmp_path):
    (tmp_path / "m.gguf").write_bytes(craft())
    assert lines(capsys, tmp_path / "m.gguf") == [
        f"{tmp_path}/m.gguf: GGUF version 3, 24 bytes, None, 0 parameters", "  0 keys",
        "  0 tensors, data aligned to 32", "  0 formats"]


def test_the_name_of_the_file_does_not_matter(capsys, tmp_path):
    (tmp_path / "weights.bin").write_bytes(craft(EVERY_TYPE, TWO_TENSORS))
    assert facts(capsys, tmp_path / "weights.bin")["architecture"] == "llama"


@pytest.fixture
def llamafile(tmp_path):
    """An archive behind a head, with an engine's members, a model, a model in two parts, and a compressed one."""
    path = tmp_path / "my.llamafile"
    path.write_bytes(b"\x7fELF" + bytes(8192 - 4))
    split = [[("general.architecture", 8, "gemma3"), ("split.no", 2, no), ("split.count", 2, 2)] for no in (0, 1)]
    with zipfile.ZipFile(path, "a") as archive:
        put(archive, ".engine", b"version 1.2.3\nrevision abc\npython 3.11.7\nhead 123 456\ndigest 9f\n", 1)
        put(archive, "py/os.pyc", bytes(1000), 1)
        put(archive, "ext/_ssl.so", bytes(2000), 4096)
        put(archive, "tiny.gguf", craft(EVERY_TYPE, TWO_TENSORS), 65536)
        put(archive, "packed.gguf", craft(EVERY_TYPE, TWO_TENSORS), 32, zipfile.ZIP_DEFLATED)
        put(archive, "big-00001-of-00002.gguf", craft(split[0], TWO_TENSORS[:1]))
        put(archive, "big-00002-of-00002.gguf", craft(split[1], TWO_TENSORS[1:]))
        put(archive, ".args", b"-m\ntiny.gguf\n", 1)
    return path


def test_an_archive(capsys, llamafile):
    found = facts(capsys, llamafile)
    assert found["engine"] == {"version": "1.2.3", "revision": "abc", "python": "3.11.7", "head": "123 456",
                               "digest": "9f"}
    with zipfile.ZipFile(llamafile) as archive:
        members = {member.filename: member for member in archive.infolist()}
    assert {m["name"]: (m["bytes"], m["compressed"]) for m in found["members"]} == {
        name: (member.file_size, member.compress_size) for name, member in members.items()}
    data = llamafile.read_bytes()
    for member in found["members"]:
        assert data[member["offset"] - 30 - len(members[member["name"]].extra) - len(member["name"]) :][:4] == b"PK\3\4"
        assert member["offset"] % member["alignment"] == 0 and member["offset"] // member["alignment"] % 2
    assert {m["name"] for m in found["members"] if m["engine"]} == {".engine", "py/os.pyc", "ext/_ssl.so"}
    tiny, packed, big = found["models"]
    assert (tiny["file"], tiny["architecture"], tiny["parts"]) == (f"{llamafile}@tiny.gguf", "llama", 1)
    assert packed["problem"].startswith(f"{llamafile}@packed.gguf: is compressed")
    assert (big["architecture"], big["parts"], len(big["tensors"])) == ("gemma3", 2, 2)
    assert [tensor["part"] for tensor in big["tensors"]] == [1, 2]


def test_an_archive_in_words(capsys, llamafile):
    said = lines(capsys, llamafile)
    assert said[0].startswith(f"{llamafile}: archive, 8 members, ")
    assert said[1] == "  engine version 1.2.3, revision abc, python 3.11.7"
    size = f"{len(craft(EVERY_TYPE, TWO_TENSORS)) / 1024:.1f} KiB"
    assert f"           65536       65536  stored     {size:>10}  tiny.gguf" in said
    assert sum("deflated" in line for line in said) == 1
    assert "  and 3 members of the engine, 3.0 KiB" in said
    assert any(line.startswith(f"{llamafile}@big-00001-of-00002.gguf: GGUF version 3 in 2 parts, ") for line in said)
    assert not any("py/os.pyc" in line for line in said)


def test_one_model_of_an_archive(capsys, llamafile):
    found = facts(capsys, f"{llamafile}@tiny.gguf")
    assert (found["file"], found["architecture"]) == (f"{llamafile}@tiny.gguf", "llama")


def test_a_part(capsys, tmp_path):
    for no in (0, 1):
        keys = [("split.no", 2, no), ("split.count", 2, 2)]
        (tmp_path / f"m-0000{no + 1}-of-00002.gguf").write_bytes(craft(keys, TWO_TENSORS[no : no + 1]))
    assert " in 2 parts, " in lines(capsys, tmp_path / "m-00001-of-00002.gguf")[0]
    with pytest.raises(LlamafileError, match=r"is part 2 of 2; give the first part, m-00001-of-00002\.gguf"):
        info.main([str(tmp_path / "m-00002-of-00002.gguf")])


def test_what_it_refuses(tmp_path):
    (tmp_path / "page.gguf").write_bytes(b"<!DOCTYPE html>")
    (tmp_path / "notes.txt").write_bytes(b"hello")
    (tmp_path / "cut.llamafile").write_bytes(b"\x7fELF" + bytes(9000))
    for argv, error, complaint in [
        ([tmp_path / "page.gguf"], LlamafileError, "is a web page, not GGUF; "),
        ([tmp_path / "notes.txt"], ZipError, "does not end in a ZIP directory; "),
        ([tmp_path / "cut.llamafile"], ZipError, "does not end in a ZIP directory; "),
        ([tmp_path / "none.gguf"], LlamafileError, "none.gguf: "),
        ([tmp_path], LlamafileError, "is not a file; "),
        ([], LlamafileError, "info: Missing argument 'FILE'; "),
        (["--jsn", "x"], LlamafileError, "info: No such option"),
    ]:
        with pytest.raises(error) as caught:
            info.main([str(word) for word in argv])
        assert complaint in str(caught.value) and "; " in str(caught.value)


def test_help(capsys):
    assert any("ARCHIVE@MEMBER" in line for line in lines(capsys, "--help"))
