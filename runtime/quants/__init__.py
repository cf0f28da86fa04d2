"""Number formats: FORMATS by name and BY_ID by GGUF id; one file a family holds declarations, its neighbours the C."""

from __future__ import annotations

from . import iq, k, laid_out, legacy, mx, plain
from .foreign import title
from .format import BY_ID, FORMATS, Format

__all__ = ["BY_ID", "FORMATS", "Format", "iq", "k", "laid_out", "legacy", "mx", "plain", "title"]
