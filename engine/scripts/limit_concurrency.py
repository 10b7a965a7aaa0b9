"""Set or take away how many jobs of a queue run at once (lua/limit_concurrency.lua)."""

from __future__ import annotations

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script

_limit_concurrency = Script("limit_concurrency", keys="meta wait active prioritized marker", args="now concurrency")


async def limit_concurrency(link: Link, keys: Keys, concurrency: int | None, *, now: Now = "") -> bool:
    """Let at most so many jobs run at once, on all workers together; None is no limit. True if one was there."""
    return bool(await _limit_concurrency(link, keys, now, "" if concurrency is None else concurrency))
