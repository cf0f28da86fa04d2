"""What serving asks of C, under the address and undefined-behaviour sanitizers."""

from __future__ import annotations

from tests import sanitized


def test_under_sanitizers():
    done = sanitized.run("tests/serving/test_prefix.py", "tests/serving/test_embedding.py",
                         "tests/serving/test_slot_file.py", "tests/serving/test_shift.py", "-k", "not equals")
    assert not done.returncode, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert " passed" in done.stdout or "100%" in done.stdout
