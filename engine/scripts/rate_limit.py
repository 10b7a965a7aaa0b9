"""Give back claimed jobs that met an external rate limit (lua/rate_limit.lua)."""

from __future__ import annotations

from collections.abc import Iterable

from engine.connection import Argument, Link
from engine.model.keys import Keys
from engine.model.records import Claimed, Limited
from engine.scripting.loader import Now, Script
from engine.scripting.rows import Refusals, read_refusals

_rate_limit = Script(
    "rate_limit",
    keys="meta wait paused active prioritized pc stalled limiter marker events jobs",
    args="now",
    rows="id token fence ms",
)


async def rate_limit(link: Link, keys: Keys, limited: Iterable[tuple[Claimed, Limited]], *, now: Now = "") -> Refusals:
    """Give back at most 1,000 jobs without using an attempt. No job starts for the longest of their waits."""
    slots: list[Argument] = []
    for job, outcome in limited:
        slots += (job.id, job.token, job.fence, outcome.wait)
    return read_refusals(await _rate_limit(link, keys, now, rows=slots))
