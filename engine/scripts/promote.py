"""Enqueue delayed jobs that are due (lua/promote.lua)."""

from __future__ import annotations

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script

_promote = Script(
    "promote",
    keys="meta wait paused active prioritized pc delayed marker events jobs",
    args="now",
)


async def promote(link: Link, keys: Keys, *, now: Now = "") -> tuple[int, int | None]:
    """How many were promoted, 250 at most, and milliseconds until the next is due (0: more are), or None."""
    count, next_due = await _promote(link, keys, now)
    return count, None if next_due < 0 else next_due
