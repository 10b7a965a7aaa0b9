"""Record that jobs failed for good (lua/fail.lua)."""

from __future__ import annotations

from collections.abc import Iterable

from engine.job import Claimed, Failed
from engine.keys import Keys
from engine.link import Argument, Link
from engine.options import Keep
from engine.script import Now, Script
from engine.scripts.rows import Refusals, keep_slot, read_refusals

_fail = Script(
    "fail",
    keys="meta wait paused active prioritized pc delayed failed stalled marker events jobs",
    args="now",
    rows="id token fence reason keep stacktrace attempts",
)


async def fail(
    link: Link, keys: Keys, failures: Iterable[tuple[Claimed, Failed, Keep, int]], *, now: Now = ""
) -> Refusals:
    """Fail at most 1,000 jobs, each with what is kept of failed jobs and the runs it was allowed."""
    slots: list[Argument] = []
    for job, failed, keep, attempts in failures:
        slots += (job.id, job.token, job.fence, failed.reason, keep_slot(keep), failed.stacktrace or b"[]", attempts)
    return read_refusals(await _fail(link, keys, now, rows=slots))
