"""Let parents that wait hear of children that have ended without telling them (lua/notify_parents.lua)."""

from __future__ import annotations

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script

PATIENCE = 60_000
"""Milliseconds after which a child that is not there counts as gone."""
COUNT = 20
"""Parents looked at, twice: the server is held for some 10 us by each child of theirs, of which ten are looked at."""

_notify_parents = Script("notify_parents", keys="jobs", args="now interval patience count")


async def notify_parents(
    link: Link, keys: Keys, *, interval_ms: int, patience_ms: int = PATIENCE, count: int = COUNT, now: Now = ""
) -> list[str]:
    """One look, unless another worker's is recent; the ids of the parents that were told something."""
    told = await _notify_parents(link, keys, now, interval_ms, patience_ms, count)
    return [id.decode(errors="surrogateescape") for id in told]
