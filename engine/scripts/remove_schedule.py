"""Delete a schedule (lua/remove_schedule.lua)."""

from __future__ import annotations

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script

_remove_schedule = Script(
    "remove_schedule",
    keys="meta wait paused active prioritized delayed repeat events jobs",
    args="now schedule",
)


async def remove_schedule(link: Link, keys: Keys, *, id: str, now: Now = "") -> bool:
    """Delete a schedule and its pending run; False if there is no such schedule."""
    return bool(await _remove_schedule(link, keys, now, id) == 0)
