"""Free a deduplication id (lua/remove_deduplication.lua)."""

from __future__ import annotations

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script

_remove_deduplication = Script(
    "remove_deduplication",
    keys="meta wait paused active prioritized pc delayed marker events jobs",
    args="now deduplication owner",
)


async def remove_deduplication(link: Link, keys: Keys, *, deduplication: str, owner: str = "", now: Now = "") -> bool:
    """Free the id, with `owner` only if that job owns it; False if there was nothing to free."""
    return bool(await _remove_deduplication(link, keys, now, deduplication, owner))
