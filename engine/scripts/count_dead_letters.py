"""Count open dead letters by group (lua/count_dead_letters.lua)."""

from __future__ import annotations

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script

_count_dead_letters = Script("count_dead_letters", keys="jobs", args="now by most")


async def count_dead_letters(link: Link, keys: Keys, *, by: str, most: int, now: Now = "") -> list[tuple[str, int]]:
    """Groups with their counts: the largest groups by type, error or tenant, or the newest days as numbers since 1970."""
    found = await _count_dead_letters(link, keys, now, by, most)
    return [(name.decode(errors="replace"), int(count)) for name, count in zip(found[::2], found[1::2], strict=True)]
