"""What every test may ask for: real models, fetched once; absent ones skip with the reason."""

from __future__ import annotations

import pytest

from . import weights


def _model(name):
    @pytest.fixture(scope="session", name=name.replace(".", "_"))
    def path():
        try:
            return str(weights.fetch(name))
        except weights.Unavailable as problem:
            pytest.skip(f"{name} cannot be had: {problem}")

    return path


smollm2 = _model("smollm2")
tinycoder = _model("tinycoder")
qwen = _model("qwen0.5b")
