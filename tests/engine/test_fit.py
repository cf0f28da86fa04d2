"""Memory is counted before it is taken: what does not fit is refused or said with the context that would fit."""

from __future__ import annotations

import pytest

from llamafile import fit
from llamafile.errors import LlamafileError


class Image:
    cache, arena = 8 << 20, 1 << 20


def test_a_context_that_cannot_fit_is_refused_with_one_that_can(monkeypatch):
    monkeypatch.setattr(fit, "available", lambda: 5 << 20)
    with pytest.raises(LlamafileError, match=r"a context of 8192 tokens needs 9 MiB .* 5 MiB are there; use -c 4096"):
        fit.check("m.gguf", 100 << 20, Image, 8192)


def test_weights_that_do_not_fit_are_said_and_allowed(monkeypatch):
    monkeypatch.setattr(fit, "available", lambda: 50 << 20)
    assert "needs 109 MiB of memory, 50 MiB are there" in fit.check("m.gguf", 100 << 20, Image, 8192)
    assert fit.check("m.gguf", 10 << 20, Image, 8192) is None


def test_the_tightest_limit_counts(tmp_path, monkeypatch):
    files = {"meminfo": "MemTotal: 9 kB\nMemAvailable:     2048 kB\n", "max": "1500000\n", "current": "500000\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(fit, "PROC", str(tmp_path / "meminfo"))
    monkeypatch.setattr(fit, "CGROUPS", ((str(tmp_path / "max"), str(tmp_path / "current")),))
    assert fit.available() == 1_000_000
    (tmp_path / "max").write_text("max\n")
    assert fit.available() == 2048 * 1024


def test_a_huge_context_is_refused_before_it_is_loaded(smollm2):
    from llamafile.model import Model

    model = Model.open(smollm2)
    with pytest.raises(LlamafileError, match=r"a context of 100000000 tokens needs .* use -c \d+"):
        model.session(100_000_000)
    model.close()
