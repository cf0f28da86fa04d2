"""The progress bar of long work: on a terminal only, and only where there is enough to do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from zipalign.copy import Progress, silent

BAR_FROM = 64 << 20  # bytes of work from which a progress bar is worth its line


@contextmanager
def bar(total: int) -> Iterator[Progress]:
    """Hand out what is to be called with each count of bytes done, of `total`; it draws on standard error."""
    if total < BAR_FROM or not sys.stderr.isatty():
        yield silent
        return
    from tqdm import tqdm

    with tqdm(total=total, unit="B", unit_scale=True, leave=False, file=sys.stderr) as drawn:
        yield drawn.update
