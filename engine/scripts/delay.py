"""Move jobs whose attempt failed to the delayed set (lua/delay.lua)."""

from __future__ import annotations

from collections.abc import Iterable

from engine.job import Claimed, Retrying
from engine.keys import Keys
from engine.link import Argument, Link
from engine.script import Now, Script
from engine.scripts.rows import Refusals, read_refusals

_delay = Script(
    "delay",
    keys="meta active delayed stalled marker events jobs",
    args="now",
    rows="id token fence delay reason stacktrace",
)


async def delay(link: Link, keys: Keys, retries: Iterable[tuple[Claimed, Retrying]], *, now: Now = "") -> Refusals:
    """Delay at most 1,000 jobs, each by the `delay` of its outcome."""
    slots: list[Argument] = []
    for job, retrying in retries:
        slots += (job.id, job.token, job.fence, retrying.delay, retrying.reason, retrying.stacktrace or b"[]")
    return read_refusals(await _delay(link, keys, now, rows=slots))
