"""The serving core: many requests answered together by one engine thread over one paged cache."""

from __future__ import annotations

from .requests import Delta, Refused, Request, Result
from .scheduler import Scheduler, Ticket
from .settings import Settings

__all__ = ["Delta", "Refused", "Request", "Result", "Scheduler", "Settings", "Ticket"]
