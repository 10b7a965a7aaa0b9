"""Pause a queue: let no job be claimed until a resume (lua/pause.lua)."""

from __future__ import annotations

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script

_pause = Script("pause", keys="meta wait paused active marker events", args="now")


async def pause(link: Link, keys: Keys, *, now: Now = "") -> bool:
    """Pause the queue for all workers; running jobs go on. False if it was paused already."""
    changed, more = await _pause(link, keys, now)
    while more:
        _, more = await _pause(link, keys, now)
    return bool(changed)
