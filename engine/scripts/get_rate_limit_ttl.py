"""Return how long rate limits let no further job start (lua/get_rate_limit_ttl.lua)."""

from __future__ import annotations

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script

_get_rate_limit_ttl = Script("get_rate_limit_ttl", keys="meta active limiter smoothed", args="now worker_limit")


async def get_rate_limit_ttl(link: Link, keys: Keys, *, worker_limit: str = "", now: Now = "") -> int:
    """Milliseconds until another job may start; 0 if one may now. `worker_limit`: a worker's own limit, MAX,MS."""
    return int(await _get_rate_limit_ttl(link, keys, now, worker_limit))
