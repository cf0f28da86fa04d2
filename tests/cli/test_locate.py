"""What -m names: files, members of this executable, of archives, of other llamafiles, and all that can be wrong."""

from __future__ import annotations

import zipfile

import pytest

from llamafile import locate, own
from llamafile.args_file import USER
from llamafile.errors import LlamafileError
from tests.cli.boxes import aligned, gguf, llamafile, part, plain
from zipalign import ZipError
from zipalign.reader import Archive


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def running(here, monkeypatch):
    """Let the program believe that it runs from an executable with these members."""
    opened = []

    def run(members):
        opened.append(Archive.open(llamafile(here / "self", members)))
        monkeypatch.setattr(own, "archive", lambda: opened[-1])

    yield run
    for archive in opened:
        archive.close()


def name_of(model):
    with locate.open_model(model) as file:
        return file.get("general.name")


def wrong(model):
    with pytest.raises((LlamafileError, ZipError)) as caught:
        locate.open_model(model).close()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file(here):
    (here / "a.gguf").write_bytes(gguf("file"))
    assert name_of("a.gguf") == "file"
    assert name_of(str(here / "a.gguf")) == "file"


def test_a_file_comes_before_a_member(here, running):
    (here / "a.gguf").write_bytes(gguf("file"))
    running({"a.gguf": gguf("member")})
    assert name_of("a.gguf") == "file"
    assert name_of("/zip/a.gguf") == "member"


def test_a_member(running):
    running({"a.gguf": gguf("a"), "sub/b.gguf": gguf("b")})
    assert name_of("a.gguf") == "a"
    assert name_of("sub/b.gguf") == "b"
    assert name_of("/zip/sub/b.gguf") == "b"


def test_no_name_takes_the_only_model(running):
    running({"a.gguf": gguf("only"), "notes.txt": b"x"})
    assert name_of(None) == "only"


def test_no_name_and_several_models(running):
    running({"a.gguf": gguf("a"), "b.gguf": gguf("b")})
    assert wrong(None) == "this executable: holds several models; choose one of a.gguf, b.gguf by -m"
    running({"a.gguf": gguf("a"), "b.gguf": gguf("b"), ".args": b"-m\nb.gguf\n...\n"})
    assert name_of(None) == "b"


def test_no_name_and_no_model(here, running):
    assert wrong(None) == "-m: there is no model in this executable; name a .gguf file"
    running({"notes.txt": b"x"})
    assert wrong(None) == "-m: there is no model in this executable; name a .gguf file"


def test_a_member_of_another_archive(here):
    aligned(here / "box@home.zip", {"in/x@y.gguf": gguf("deep"), "z.gguf": gguf("z")})
    assert name_of("box@home.zip@in/x@y.gguf") == "deep"
    assert name_of("box@home.zip@z.gguf") == "z"
    assert wrong("box@home.zip@no.gguf") == (
        "box@home.zip@no.gguf: there is no such member (it holds in/x@y.gguf, z.gguf); check the name")


@pytest.mark.parametrize("make", [aligned, llamafile])
def test_another_archive_with_one_model(here, make):
    make(here / "other", {"readme": b"x", "m.gguf": gguf("inside")})
    assert name_of("other") == "inside"


def test_another_llamafile_with_two_models_says_itself_which(here):
    members = {"m.gguf": gguf("language"), "mmproj.gguf": gguf("vision")}
    llamafile(here / "a.llamafile", {**members, ".args": b"-m\nm.gguf\n--mmproj\nmmproj.gguf\n...\n"})
    llamafile(here / "b.llamafile", {**members, ".args": b"--temp 0 --model /zip/m.gguf ...\n"})
    llamafile(here / "c.llamafile", members)
    assert name_of("a.llamafile") == name_of("b.llamafile") == "language"
    assert name_of("a.llamafile@mmproj.gguf") == "vision"
    assert wrong("c.llamafile") == "c.llamafile: holds several models; choose one of m.gguf, mmproj.gguf by -m"


def test_no_model_in_an_archive(here):
    plain(here / "empty.zip", {"readme": b"x"})
    assert wrong("empty.zip") == "empty.zip: holds no .gguf member; add one with zipalign"


def test_parts_in_files_and_archives(here, running):
    parts = {f"big-{i:05}-of-00003.gguf": part(i, 3) for i in (1, 2, 3)}
    for name, data in parts.items():
        (here / name).write_bytes(data)
    running({f"dir/{name}": data for name, data in parts.items()})
    aligned(here / "box.zip", {name: parts[name] for name in reversed(parts)})
    for model in ("big-00001-of-00003.gguf", "/zip/dir/big-00001-of-00003.gguf", "box.zip", None,
                  "box.zip@big-00001-of-00003.gguf"):
        with locate.open_model(model) as file:
            assert sorted(file.tensors) == ["t1", "t2", "t3"]
            assert len(file.mappings) == 3


def test_a_part_that_is_missing(here):
    aligned(here / "box.zip", {"big-00001-of-00002.gguf": part(1, 2)})
    assert "big-00002-of-00002.gguf: is missing" in wrong("box.zip")


def test_compressed_members_are_refused(here):
    plain(here / "box.zip", {"m.gguf": gguf(extra=50)}, zipfile.ZIP_DEFLATED)
    assert wrong("box.zip") == "box.zip@m.gguf: is compressed and cannot be mapped; add it again with zipalign -0"


def test_members_that_lie_askew_are_refused(here):
    plain(here / "box.zip", {"m.gguf": gguf()})
    assert "zipalign it again" in wrong("box.zip")


def test_names_that_lead_nowhere(here, running):
    assert wrong("no.gguf") == "no.gguf: there is no such file; check the name"
    assert wrong("/zip/no.gguf") == (
        "/zip/no.gguf: this program runs from its sources and has no members; give a file")
    assert wrong(".") == ".: is a folder; give the .gguf file in it"
    assert wrong("no.zip@m.gguf") == "no.zip@m.gguf: there is no such file; check the name"
    running({"m.gguf": gguf()})
    assert wrong("no.gguf") == (
        "no.gguf: is neither a file nor a member of this executable (it holds m.gguf); check the name")


def test_files_that_are_something_else(here):
    (here / "text.gguf").write_bytes(b"hello, world\n")
    (here / "void.gguf").write_bytes(b"")
    (here / "half.zip").write_bytes(b"PK\3\4" + bytes(100))
    assert wrong("text.gguf").startswith("text.gguf: ") and "not GGUF" in wrong("text.gguf")
    assert wrong("void.gguf").startswith("void.gguf: ")
    assert wrong("half.zip").startswith("half.zip: does not end in a ZIP directory")


def test_only_first_parts_count():
    later = ["a-00002-of-00003.gguf", "dir/a-00010-of-00010.GGUF"]
    single = ["a.gguf", "a-00001-of-00003.gguf", "00002-of-00003.gguf.bin", "x-0002-of-0003.gguf", "-of-.gguf"]
    assert all(map(locate.is_later_part, later))
    assert not any(map(locate.is_later_part, single))


def test_other_files_to_read(here, running):
    (here / "prompt").write_bytes(b"hi")
    running({"p.txt": b"inside"})
    assert locate.read_bytes("prompt") == b"hi"
    assert locate.read_bytes("/zip/p.txt") == b"inside"
    with pytest.raises(LlamafileError, match=r"^nothing: cannot be read: No such file or directory; check the name$"):
        locate.read_bytes("nothing")
    with pytest.raises(LlamafileError, match=r"^/zip/nothing: there is no such member; check the name$"):
        locate.read_bytes("/zip/nothing")


def test_shipped_arguments(running):
    assert locate.shipped_arguments() == []
    running({"x": b""})
    assert locate.shipped_arguments() == []
    running({".args": b"-m\n/zip/x\n...\n"})
    assert locate.shipped_arguments() == ["-m", "/zip/x", USER]


def test_shipped_arguments_may_be_deflated(here, monkeypatch):
    plain(here / "box.zip", {".args": b"-n\n5\n" * 30}, zipfile.ZIP_DEFLATED)
    with Archive.open(here / "box.zip") as archive:
        monkeypatch.setattr(own, "archive", lambda: archive)
        assert locate.shipped_arguments() == ["-n", "5"] * 30
