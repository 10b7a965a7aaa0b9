"""Count the jobs of each state (lua/get_counts.lua)."""

from __future__ import annotations

from engine.connection import Link
from engine.model.keys import Keys
from engine.model.records import Counts
from engine.scripting.loader import Now, Script
from engine.scripting.snapshots import ALL_PLACES

_get_counts = Script("get_counts", keys=ALL_PLACES, args="now")


async def get_counts(link: Link, keys: Keys, *, now: Now = "") -> Counts:
    """Counts of all states at one moment."""
    wait, paused, active, prioritized, delayed, waiting_children, completed, failed = await _get_counts(link, keys, now)
    return Counts(
        waiting=wait,
        active=active,
        delayed=delayed,
        prioritized=prioritized,
        completed=completed,
        failed=failed,
        waiting_children=waiting_children,
        paused=paused,
    )
