"""Store the progress of jobs, with an event (lua/progress.lua)."""

from __future__ import annotations

from collections.abc import Iterable

from engine.connection import Argument, Link
from engine.model.keys import Keys
from engine.model.records import Claimed
from engine.scripting.loader import Now, Script
from engine.scripting.rows import Refusals, read_refusals

_progress = Script("progress", keys="meta active events jobs", args="now", rows="id token fence value")


async def progress(
    link: Link, keys: Keys, rows: Iterable[tuple[str, Claimed | None, bytes]], *, now: Now = ""
) -> Refusals:
    """Store the progress of at most 1,000 jobs: id, the claim that writes (None: a producer), the value as JSON.

    A row whose claim no longer holds the job is refused. A value that is not JSON would stop BullMQ's event readers for good.
    """
    slots: list[Argument] = []
    for id, claim, value in rows:
        slots += (id, claim.token if claim else "", claim.fence if claim else 0, value)
    return read_refusals(await _progress(link, keys, now, rows=slots))
