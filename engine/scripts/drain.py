"""Delete jobs that wait (lua/drain.lua)."""

from __future__ import annotations

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script
from engine.scripting.pace import PER_CALL

_drain = Script("drain", keys="wait paused prioritized delayed repeat jobs", args="now state skip count")

_IN_LINE = ("paused", "wait", "prioritized")


async def drain(link: Link, keys: Keys, *, delayed: bool = False, count: int = PER_CALL, now: Now = "") -> int:
    """Delete all jobs in line, and the delayed ones too if asked; how many, with the parents that waited for no others. `count` a call.

    The pending runs of schedules stay. No event tells of it, as in BullMQ.
    """
    deleted = 0
    for state in (*_IN_LINE, "delayed") if delayed else _IN_LINE:
        skip, seen = 0, count
        while seen == count:
            gone, stayed, parents = await _drain(link, keys, now, state, skip, count)
            deleted, skip, seen = deleted + gone + parents, skip + stayed, gone + stayed
    return deleted
