"""Count the jobs of each name in a page of one state (lua/count_names.lua)."""

from __future__ import annotations

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script
from engine.scripting.snapshots import ALL_PLACES

_count_names = Script("count_names", keys=f"{ALL_PLACES} jobs", args="now state start count")


async def count_names(
    link: Link, keys: Keys, *, state: str, start: int, count: int, now: Now = ""
) -> tuple[int, dict[str, int]]:
    """How many jobs were read, from number `start` on in the order in which they run, and how many have each name."""
    read, *pairs = await _count_names(link, keys, now, state, start, count)
    names = [name.decode(errors="replace") for name in pairs[::2]]
    return read, dict(zip(names, pairs[1::2], strict=True))
