"""Set or remove the rate limit of a queue (lua/limit_rate.lua)."""

from __future__ import annotations

from engine.connection import Link
from engine.model.keys import Keys
from engine.model.limits import RateLimit
from engine.scripting.loader import Now, Script

_limit_rate = Script(
    "limit_rate",
    keys="meta wait active prioritized limiter smoothed marker",
    args="now max duration smooth",
)


async def limit_rate(link: Link, keys: Keys, limit: RateLimit | None, *, now: Now = "") -> bool:
    """Let jobs start no faster than `limit`; None removes limit, current window and hold. True if there was one."""
    asked = ("", "", "") if limit is None else (limit.max, limit.duration, 1 if limit.smooth else 0)
    return bool(await _limit_rate(link, keys, now, *asked))
