"""llamafile convert: what it makes of files, folders, ZIPs and llamafiles, and that a failure leaves nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from llamafile import convert, engine, locate
from llamafile.errors import LlamafileError
from tests.cli.boxes import MEMBERS, aligned, gguf, llamafile, part, plain
from tests.cli.boxes import engine as make_engine
from tests.gguf.craft import craft
from zipalign import ZipError
from zipalign.reader import Archive


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_engine(tmp_path / "engine")
    return tmp_path


def run(*words):
    return convert.main(["--engine", "engine", *words])


def members(path):
    """The user's members of an executable, read by Python's zipfile."""
    with zipfile.ZipFile(path) as box:
        assert box.testzip() is None
        return {name: box.read(name) for name in box.namelist() if not engine.is_engine_member(name)}


def wrong(*words):
    with pytest.raises((LlamafileError, ZipError)) as caught:
        run(*words)
    assert "\n" not in str(caught.value)
    leftovers = [name for name in os.listdir(".") if name.startswith(".") and name != ".args"]
    assert leftovers == []
    return str(caught.value)


def test_a_file(here, capsys):
    (here / "my.model.gguf").write_bytes(gguf("file"))
    assert run("my.model.gguf") == 0
    target = here / "my.model.llamafile"
    assert members(target) == {"my.model.gguf": gguf("file"), ".args": b"-m\n/zip/my.model.gguf\n...\n"}
    assert target.stat().st_mode & 0o777 == 0o755
    assert subprocess.run([target, "x"], capture_output=True, text=True, check=True).stdout == "engine x\n"
    assert "run it as ./my.model.llamafile" in capsys.readouterr().err


def test_the_engine_is_byte_for_byte_what_was_built(here):
    (here / "m.gguf").write_bytes(gguf())
    run("m.gguf", "-o", "first")
    built = (here / "engine").read_bytes()
    with Archive.open("engine") as box:
        whole = box.directory.position + box.directory.size
    assert (here / "first").read_bytes()[:whole] == built[:whole]
    # An engine is taken from a llamafile as well, without that one's weights.
    convert.main(["--engine", "first", "m.gguf", "-o", "second"])
    assert (here / "second").read_bytes() == (here / "first").read_bytes()
    with zipfile.ZipFile("second") as box:
        assert {name: box.read(name) for name in MEMBERS} == MEMBERS


def test_weights_are_aligned_and_open_in_place(here):
    (here / "m.gguf").write_bytes(gguf("inside"))
    run("m.gguf", "-o", "out")
    with Archive.open("out") as box:
        member = box.members["m.gguf"]
        assert member.method == 0 and box.data_offset(member) % 65536 == 0
    with locate.open_model("out") as file:
        assert file.get("general.name") == "inside"


def test_arguments(here):
    (here / "m.gguf").write_bytes(gguf())
    run("m.gguf", "-o", "out", "--", "--temp", "0", "-p", "two\nlines and 'quotes'", "...", "-n", "5")
    expected = b"-m\n/zip/m.gguf\n--temp\n0\n-p\ntwo\\nlines and 'quotes'\n...\n-n\n5\n"
    assert members("out")[".args"] == expected
    run("m.gguf", "-o", "out", "--", "-m", "other.gguf")
    assert members("out")[".args"] == b"-m\nother.gguf\n...\n"


def test_parts(here):
    names = [f"big-{i:05}-of-00002.gguf" for i in (1, 2)]
    for i, name in enumerate(names, 1):
        (here / name).write_bytes(part(i, 2))
    run(names[0])
    found = members("big.llamafile")
    assert set(found) == {*names, ".args"} and found[".args"].startswith(b"-m\n/zip/big-00001-of-00002.gguf\n")
    assert wrong(names[1], "-o", "x") == f"{names[1]}: is part 2 of 2; name the first, {names[0]}"
    (here / names[1]).unlink()
    assert f"{names[1]}: is missing" in wrong(names[0], "-o", "x")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip(here, method):
    plain(here / "download.zip", {"folder/m.gguf": gguf("zipped", 2000), "readme.txt": b"x"}, method)
    run("download.zip")
    assert members("download.llamafile") == {"m.gguf": gguf("zipped", 2000), ".args": b"-m\n/zip/m.gguf\n...\n"}
    with locate.open_model("download.llamafile") as file:
        assert file.get("general.name") == "zipped"


def test_a_zip_by_deflate64(here):
    """What Windows Explorer writes above 2 GiB, made by 7z."""
    if not shutil.which("7z"):
        pytest.skip("7z is not installed")
    (here / "m.gguf").write_bytes(gguf("wide", 5000))
    subprocess.run(["7z", "a", "-tzip", "-mm=Deflate64", "box.zip", "m.gguf"], check=True, capture_output=True)
    with zipfile.ZipFile("box.zip") as box:
        assert box.getinfo("m.gguf").compress_type == 9
    run("box.zip")
    assert members("box.llamafile")["m.gguf"] == gguf("wide", 5000)


def test_an_older_llamafile_keeps_its_arguments(here):
    args = b"-m\na.gguf\n--mmproj\nb.gguf\n...\n"
    llamafile(here / "old.llamafile", {"a.gguf": gguf("a"), "b.gguf": gguf("b"), ".args": args})
    run("old.llamafile", "-o", "new.llamafile")
    assert members("new.llamafile") == {"a.gguf": gguf("a"), "b.gguf": gguf("b"), ".args": args}


def test_a_folder(here):
    folder = here / "dir"
    folder.mkdir()
    (folder / "m.gguf").write_bytes(gguf("one"))
    (folder / "notes.txt").write_bytes(b"x")
    run("dir")
    assert members("dir.llamafile") == {"m.gguf": gguf("one"), ".args": b"-m\n/zip/m.gguf\n...\n"}
    (folder / "n.gguf").write_bytes(gguf("two"))
    assert "there are several models (m.gguf, n.gguf); choose one" in wrong("dir", "-o", "x")
    (folder / ".args").write_bytes(b"-m\nn.gguf\n")
    run("dir/", "-o", "x")
    assert set(members("x")) == {"m.gguf", "n.gguf", ".args"} and members("x")[".args"] == b"-m\nn.gguf\n"


def test_mistakes(here):
    (here / "m.gguf").write_bytes(gguf())
    (here / "text.gguf").write_bytes(b"hello")
    (here / "empty").mkdir()
    plain(here / "empty.zip", {"x": b""})
    assert wrong("no.gguf") == "no.gguf: cannot be opened: No such file or directory; check the name"
    assert "not GGUF" in wrong("text.gguf")
    assert wrong("empty") == "empty: holds no .gguf file; name another folder"
    assert wrong("empty.zip") == "empty.zip: holds no .gguf member; name another file"
    assert wrong("m.gguf", "-o", "m.gguf") == "m.gguf: is the model itself; choose another name by -o"
    assert wrong("m.gguf", "-o", "empty") == "empty: is a folder; name a file by -o"
    assert wrong("m.gguf", "-o", "no/such/place").startswith("no/such: cannot be written to: No such file")
    assert wrong("m.gguf", "--frob").startswith("convert: No such option")
    assert wrong().startswith("convert: Missing argument")
    aligned(here / "noengine", {"m.gguf": gguf()})
    with pytest.raises(LlamafileError, match=r"^noengine: has no engine in it; name an executable llamafile by "):
        convert.main(["--engine", "noengine", "m.gguf"])


def test_an_existing_file_is_replaced_only_by_name(here):
    (here / "m.gguf").write_bytes(gguf())
    (here / "m.llamafile").write_bytes(b"precious")
    assert wrong("m.gguf") == "m.llamafile: exists already; name it by -o to replace it"
    run("m.gguf", "-o", "m.llamafile")
    assert "m.gguf" in members("m.llamafile")


def test_damage_that_only_unpacking_shows(here):
    whole = gguf("whole", 2000)
    plain(here / "cut.zip", {"m.gguf": whole[: len(whole) // 2]}, zipfile.ZIP_DEFLATED)
    assert wrong("cut.zip").startswith("m.gguf: ")
    data = bytearray(plain(here / "bad.zip", {"m.gguf": whole}, zipfile.ZIP_DEFLATED).read_bytes())
    data[len(data) // 2] ^= 255
    (here / "bad.zip").write_bytes(data)
    assert "m.gguf" in wrong("bad.zip")
    assert not (here / "bad.llamafile").exists() and not (here / "cut.llamafile").exists()


def test_a_full_disk_is_foreseen(here, monkeypatch):
    (here / "m.gguf").write_bytes(gguf())
    free = os.statvfs(".")
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((*free[:3], 100, 100, *free[5:10])))
    assert wrong("m.gguf").startswith("m.llamafile: needs ")


def test_help_needs_no_model():
    done = subprocess.run([sys.executable, "-m", "llamafile", "convert", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("Usage: llamafile convert [OPTIONS] MODEL")


def rows(name="rows"):
    """A small GGUF with matrices that can be laid out, and one that cannot."""
    matrices = [("a", 2, (64, 32), bytes(range(256)) * 4 + bytes(128)), ("b", 2, (64, 24), bytes(864)),
                ("c", 12, (256, 16), bytes(range(144)) * 16)]  # fmt: skip
    return craft([("general.architecture", 8, "llama"), ("general.name", 8, name)], matrices)


def test_weights_laid_out_and_back(here):
    (here / "m.gguf").write_bytes(rows())
    run("m.gguf", "--repack", "-o", "laid", "--", "--temp", "0")
    laid = members("laid")
    assert laid["m.gguf"] != rows() and len(laid["m.gguf"]) == len(rows())
    with locate.open_model("laid") as file:
        assert {name: tensor.type for name, tensor in file.tensors.items()} == {"a": 2050, "b": 2, "c": 2060}
    run("laid", "-o", "again")  # as they are
    assert members("again") == laid
    run("laid", "--no-repack", "-o", "plain")
    assert members("plain") == laid | {"m.gguf": rows()}
    run("m.gguf", "--no-repack", "-o", "same")
    assert members("same")["m.gguf"] == rows()


def test_parts_and_folders_laid_out(here):
    given = {}
    for i in (1, 2):
        keys = [("split.no", 2, i - 1), ("split.count", 2, 2), ("split.tensors.count", 5, 2)]
        head = [("general.architecture", 8, "llama")] if i == 1 else []
        given[f"big-0000{i}-of-00002.gguf"] = craft(head + keys, [(f"t{i}", 8, (32, 16), bytes(range(136)) * 4)])
    (here / "folder").mkdir()
    for name, data in given.items():
        (here / name).write_bytes(data)
        (here / "folder" / name).write_bytes(data)
    run("big-00001-of-00002.gguf", "--repack", "-o", "one")
    run("folder", "--repack", "-o", "two")
    assert members("one") == members("two")
    with locate.open_model("one") as file:
        assert [tensor.type for tensor in file.tensors.values()] == [2056, 2056]
    run("one", "--no-repack", "-o", "back")
    assert {name: data for name, data in members("back").items() if name != ".args"} == given


def test_compressed_members_are_not_laid_out(here):
    plain(here / "download.zip", {"m.gguf": rows()}, zipfile.ZIP_DEFLATED)
    assert "m.gguf: is compressed" in wrong("download.zip", "--repack", "-o", "x")


def test_weights_alone(here, capsys):
    (here / "m.gguf").write_bytes(rows())
    run("m.gguf", "--repack", "-o", "laid.gguf")
    assert capsys.readouterr().err == f"laid.gguf: {len(rows()):,} bytes of GGUF\n"
    assert (here / "laid.gguf").read_bytes() != rows()
    run("laid.gguf", "--no-repack", "-o", "plain.GGUF")
    assert (here / "plain.GGUF").read_bytes() == rows()
    run("laid.gguf", "-o", "box")
    run("box", "-o", "out.gguf")  # as they are, out of a llamafile
    assert (here / "out.gguf").read_bytes() == (here / "laid.gguf").read_bytes()
    assert not (here / "laid.gguf").stat().st_mode & 0o111
    assert "no default arguments" in wrong("m.gguf", "-o", "x.gguf", "--", "--temp", "0")
    assert "is the model itself" in wrong("m.gguf", "-o", "m.gguf")
    assert "cannot be written: No such file or directory" in wrong("m.gguf", "-o", "nowhere/x.gguf")
    assert sorted(name for name in os.listdir(".") if name.startswith("x")) == []


def test_parts_do_not_become_one_gguf(here):
    for i in (1, 2):
        (here / f"big-0000{i}-of-00002.gguf").write_bytes(part(i, 2))
    assert "has 2 parts" in wrong("big-00001-of-00002.gguf", "-o", "one.gguf")
