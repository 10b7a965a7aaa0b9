"""Run claimed jobs later: after a failed attempt, or because they asked for it (lua/delay.lua)."""

from __future__ import annotations

from collections.abc import Iterable

from engine.connection import Argument, Link
from engine.model.keys import Keys
from engine.model.records import Claimed, Delayed, Retrying
from engine.scripting.loader import Now, Script
from engine.scripting.rows import Refusals, read_refusals

_delay = Script(
    "delay",
    keys="meta active delayed stalled marker events jobs",
    args="now",
    rows="id token fence delay reason stacktrace skip",
)


async def delay(
    link: Link, keys: Keys, later: Iterable[tuple[Claimed, Retrying | Delayed]], *, now: Now = ""
) -> Refusals:
    """Delay at most 1,000 jobs, each by the `delay` of its outcome; Delayed uses no attempt."""
    slots: list[Argument] = []
    for job, outcome in later:
        slots += (job.id, job.token, job.fence, outcome.delay)
        match outcome:
            case Retrying():
                slots += (outcome.reason, outcome.stacktrace or b"[]", 0)
            case Delayed():
                slots += ("", b"", 1)
    return read_refusals(await _delay(link, keys, now, rows=slots))
