"""Enqueue claimed jobs whose attempt failed again, at once (lua/retry.lua)."""

from __future__ import annotations

from collections.abc import Iterable

from engine.connection import Argument, Link
from engine.model.keys import Keys
from engine.model.records import Claimed, Retrying
from engine.scripting.loader import Now, Script
from engine.scripting.rows import Refusals, read_refusals

_retry = Script(
    "retry",
    keys="meta wait paused active prioritized pc stalled marker events jobs",
    args="now",
    rows="id token fence reason stacktrace lifo",
)


async def retry(
    link: Link, keys: Keys, retries: Iterable[tuple[Claimed, Retrying, bool]], *, now: Now = ""
) -> Refusals:
    """Retry at most 1,000 jobs; the third item says whether at the front (the job's option `lifo`)."""
    slots: list[Argument] = []
    for job, retrying, lifo in retries:
        slots += (job.id, job.token, job.fence, retrying.reason, retrying.stacktrace or b"[]", 1 if lifo else 0)
    return read_refusals(await _retry(link, keys, now, rows=slots))
