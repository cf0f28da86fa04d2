"""What all tests share: real models, fetched once, where absent ones skip with the reason; the same examples always."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from . import weights

# The same examples in every run and on every machine, however busy it is; `--hypothesis-profile=default` draws others.
settings.register_profile("same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("same")


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
