"""Return how many jobs finished in each minute (lua/get_metrics.lua)."""

from __future__ import annotations

from msgspec import Struct

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script

_get_metrics = Script("get_metrics", keys="jobs", args="now kind start end")


class StoredMetrics(Struct, frozen=True):
    """Stored counts of completed or failed jobs; times in ms."""

    total: int
    closed: int | None
    """When the newest minute was closed; None before the first job."""
    until_then: int
    """Jobs counted at that time."""
    kept: int
    """Minutes kept."""
    counts: list[int]
    """Of the requested minutes, newest first."""


async def get_metrics(link: Link, keys: Keys, *, kind: str, start: int, end: int, now: Now = "") -> StoredMetrics:
    """The counts of minutes `start` to `end`, both included, 0 for the newest; negative numbers count from the oldest."""
    total, closed, until_then, kept, counts = await _get_metrics(link, keys, now, kind, start, end)
    return StoredMetrics(
        _number(total),
        _number(closed) if closed else None,
        _number(until_then),
        kept,
        [_number(count) for count in counts],
    )


def _number(text: bytes) -> int:
    try:
        return int(text)
    except ValueError:
        return 0
