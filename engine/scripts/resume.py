"""Resume a paused queue (lua/resume.lua)."""

from __future__ import annotations

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script

_resume = Script("resume", keys="meta wait paused active prioritized delayed marker events", args="now")


async def resume(link: Link, keys: Keys, *, now: Now = "") -> bool:
    """End the pause. False if the queue was not paused."""
    more = 1
    while more:
        changed, more = await _resume(link, keys, now)
    return bool(changed)
