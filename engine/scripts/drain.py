"""Delete jobs that have not started (lua/drain.lua)."""

from __future__ import annotations

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script
from engine.scripting.pace import PER_CALL

_drain = Script("drain", keys="wait paused prioritized delayed repeat jobs", args="now state skip count")

_WAITING = ("paused", "wait", "prioritized")


async def drain(link: Link, keys: Keys, *, delayed: bool = False, count: int = PER_CALL, now: Now = "") -> int:
    """Delete all waiting jobs, with `delayed` those too; returns how many, with parents whose last open child was deleted.

    Pending runs of schedules stay. No event is written for the deleted jobs, as in BullMQ. `count` jobs a call.
    """
    deleted = 0
    for state in (*_WAITING, "delayed") if delayed else _WAITING:
        skip, more = 0, 1
        while more:
            gone, stayed, parents, more = await _drain(link, keys, now, state, skip, count)
            deleted, skip = deleted + gone + parents, skip + stayed
    return deleted
