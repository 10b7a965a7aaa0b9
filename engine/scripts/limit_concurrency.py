"""Set or remove a queue's global concurrency (lua/limit_concurrency.lua)."""

from __future__ import annotations

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script

_limit_concurrency = Script("limit_concurrency", keys="meta wait active prioritized marker", args="now concurrency")


async def limit_concurrency(link: Link, keys: Keys, concurrency: int | None, *, now: Now = "") -> bool:
    """Let at most `concurrency` jobs run at once, on all workers together; None: no limit. True if there was a limit."""
    return bool(await _limit_concurrency(link, keys, now, "" if concurrency is None else concurrency))
