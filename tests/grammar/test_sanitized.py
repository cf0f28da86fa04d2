"""The grammars' C under the address and undefined-behaviour sanitizers: masks, forgetting, threads, random notation."""

from __future__ import annotations

import pytest

from tests import sanitized


@pytest.mark.models
@pytest.mark.parametrize(
    "arguments",
    [
        ("tests/grammar/test_masks.py", "-k", "not exact or 49152 and (json or ambiguous or left or empty)"),
        ("tests/grammar/test_gbnf.py", "-k", "notation or terminals or any_text or wrong"),
        ("tests/grammar/test_malformed.py",),
    ],
    ids=["masks", "notation", "malformed"],
)
def test_under_sanitizers(arguments):
    done = sanitized.run(*arguments)
    assert not done.returncode, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert " passed" in done.stdout or "100%" in done.stdout
