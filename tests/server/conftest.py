"""Fixtures: a running server with the small instruct model, one for each module, and a way to start others."""

from __future__ import annotations

import pytest

from tests.executable.built import BUILT

from .running import SOURCES, Running


@pytest.fixture(scope="module")
def start(request):
    """A function that starts a server and ends it with the module."""
    started = []

    def begin(*words, **more):
        started.append(Running(*words, **more))
        return started[-1]

    yield begin
    for each in started:
        if each.process.poll() is None:
            each.stop()
        assert "Traceback" not in each.text, each.text


@pytest.fixture(scope="module")
def server(start, smollm2, tmp_path_factory):
    """The server most tests ask."""
    folder = tmp_path_factory.mktemp("slots")
    return start(smollm2, "--metrics", "--slot-save-path", str(folder), "-c", "2048", "--temp", "0")


@pytest.fixture(scope="module", params=["sources", pytest.param("built", marks=pytest.mark.built)])
def everywhere(request, start, smollm2):
    """The same server, from the sources and from the built executable."""
    if request.param == "built" and not BUILT.exists():
        pytest.skip("build/llamafile is not built; make executable")
    program = SOURCES if request.param == "sources" else (str(BUILT),)
    return start(smollm2, "-c", "2048", "--temp", "0", program=program)
