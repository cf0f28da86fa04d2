"""The C core under the address and undefined-behaviour sanitizers: every op, damaged programs, whole tiny models."""

from __future__ import annotations

import pytest

from tests import sanitized


@pytest.mark.parametrize(
    "arguments",
    [
        ("tests/runtime/test_ops.py", "-k", "sse2 or avx2 or avx512vnni or amx"),
        ("tests/runtime/test_laid_out.py", "-k", "sse2 or avx2 or amx"),
        ("tests/runtime/test_program.py",),
        ("tests/engine/test_tiny.py", "tests/engine/test_session.py"),
        ("tests/gpu/test_segments.py", "tests/gpu/test_placement.py", "-k", "not smollm2 and not fit and not layers"),
    ],
    ids=["ops", "laid out", "programs", "models", "devices"],
)
def test_under_sanitizers(arguments):
    done = sanitized.run(*arguments)
    assert not done.returncode, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert " passed" in done.stdout or "100%" in done.stdout


def test_the_sanitizers_are_at_work(tmp_path):
    """A read one byte behind an allocation must end the process: else the tests above could not fail."""
    case = tmp_path / "test_bad.py"
    case.write_text(
        "from runtime._core import ffi, lib\n"
        "def test_bad():\n"
        "    out = ffi.new('float[]', 31)\n"
        "    lib.lf_decode_rows(2, ffi.new('char[18]'), out, 32)\n"
    )
    done = sanitized.run(str(case))
    assert done.returncode
    assert "AddressSanitizer" in done.stdout + done.stderr
