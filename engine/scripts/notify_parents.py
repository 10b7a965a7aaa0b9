"""Release or fail parents whose children ended without notifying them (lua/notify_parents.lua)."""

from __future__ import annotations

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script

PATIENCE = 60_000
"""Milliseconds after which a missing child counts as deleted."""
COUNT = 20
"""Parents checked: this many of the oldest, and as many random ones. Each of their children, ten at most, takes the server some 10 us."""

_notify_parents = Script("notify_parents", keys="jobs", args="now interval patience count")


async def notify_parents(
    link: Link, keys: Keys, *, interval_ms: int, patience_ms: int = PATIENCE, count: int = COUNT, now: Now = ""
) -> list[str]:
    """Check once, unless another worker did so in the last `interval_ms`; returns the ids of notified parents."""
    notified = await _notify_parents(link, keys, now, interval_ms, patience_ms, count)
    return [id.decode(errors="surrogateescape") for id in notified]
