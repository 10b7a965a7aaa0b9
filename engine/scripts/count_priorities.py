"""Say how many jobs of each priority are in line (lua/count_priorities.lua)."""

from __future__ import annotations

from collections.abc import Iterable

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script

_count_priorities = Script("count_priorities", keys="wait paused prioritized", args="now", rows="priority")


async def count_priorities(link: Link, keys: Keys, asked: Iterable[int] = (), *, now: Now = "") -> dict[int, int]:
    """Jobs in line of each priority asked about, at most 250; of the first 250 that are in line if none is."""
    found = await _count_priorities(link, keys, now, rows=asked)
    return dict(zip(found[::2], found[1::2], strict=True))
