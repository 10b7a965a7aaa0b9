"""Count the waiting jobs of each priority (lua/count_priorities.lua)."""

from __future__ import annotations

from collections.abc import Iterable

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script

_count_priorities = Script("count_priorities", keys="wait paused prioritized", args="now", rows="priority")


async def count_priorities(link: Link, keys: Keys, asked: Iterable[int] = (), *, now: Now = "") -> dict[int, int]:
    """Number of waiting jobs of each `asked` priority, at most 250; without any, of the first 250 that have jobs."""
    found = await _count_priorities(link, keys, now, rows=asked)
    return dict(zip(found[::2], found[1::2], strict=True))
