"""The file of earlier turns: its form, its rights, where it goes when the home folder is not to be written to."""

from __future__ import annotations

import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamafile.chat import history
from llamafile.chat.history import HistoryFile


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder of its own, and nowhere else to go."""
    for name in ("LLAMAFILE_CACHE", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    return folder


def opened():
    notes = []
    return HistoryFile(notes.append), notes


def test_turns_come_back_in_order(home):
    file, notes = opened()
    for turn in ("first", "two\nlines", "back\\slash \\n", "  "):
        file.add(turn)
    again, _ = opened()
    assert again.turns() == ["first", "two\nlines", "back\\slash \\n"] and notes == []
    assert stat.S_IMODE((home / ".llamafile_history").stat().st_mode) == 0o600


@given(st.text(alphabet="a\\n\n ", max_size=30))
def test_every_text_comes_back(text):
    line = text.replace("\\", "\\\\").replace("\n", "\\n")
    assert "\n" not in line and history._unescaped(line) == text


def test_rights_of_an_old_file_are_mended(home):
    path = home / ".llamafile_history"
    path.write_text("old\n")
    path.chmod(0o644)
    assert opened()[0].turns() == ["old"] and stat.S_IMODE(path.stat().st_mode) == 0o600


def test_only_the_end_of_a_large_file_is_read(home):
    (home / ".llamafile_history").write_text("".join(f"turn {i} {'x' * 100}\n" for i in range(10_000)))
    turns = opened()[0].turns()
    assert turns[-1].startswith("turn 9999 ") and 1000 < len(turns) < 10_000
    assert all(turn.startswith("turn ") for turn in turns)


def test_a_home_that_cannot_be_written_is_said_once(home, tmp_path):
    (home / ".llamafile_history").mkdir()  # root may write everywhere, but to no folder
    file, notes = opened()
    file.add("kept")
    path = tmp_path / "tmp" / f"llamafile-{os.getuid()}" / "llamafile_history"
    assert notes == [f"history: is kept in {path} ({home}/.llamafile_history: Is a directory)"]
    assert path.read_text() == "kept\n" and stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_nowhere_at_all(home, tmp_path, monkeypatch):
    (home / ".llamafile_history").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "no" / "such"))
    (tmp_path / "no").write_text("a file")
    file, notes = opened()
    file.add("lost")
    assert file.turns() == [] and len(notes) == 1 and notes[0].startswith("history: is not kept (")


def test_a_link_that_somebody_laid_there_is_not_followed(home, tmp_path):
    (tmp_path / "victim").write_text("mine\n")
    (home / ".llamafile_history").symlink_to(tmp_path / "victim")
    file, notes = opened()
    file.add("x")
    assert (tmp_path / "victim").read_text() == "mine\n" and len(notes) == 1


def test_a_folder_that_others_may_write_is_not_used(home, tmp_path):
    (home / ".llamafile_history").mkdir()
    folder = tmp_path / "tmp" / f"llamafile-{os.getuid()}"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    file, notes = opened()
    assert file.fd == -1 and notes[0].startswith("history: is not kept (")


def test_the_users_own_folder_comes_first(home, tmp_path, monkeypatch):
    monkeypatch.setenv("LLAMAFILE_CACHE", str(tmp_path / "mine"))
    opened()[0].add("x")
    assert (tmp_path / "mine" / "llamafile_history").read_text() == "x\n"
    assert not (home / ".llamafile_history").exists()


def test_a_whole_document_is_not_kept(home):
    file, _ = opened()
    file.add("x" * 20_000)
    file.add("short")
    assert opened()[0].turns() == ["short"]
