"""Append rows to the logs of jobs (lua/log.lua)."""

from __future__ import annotations

from collections.abc import Iterable

from engine.connection import Argument, Link
from engine.model.keys import Keys
from engine.model.records import Claimed
from engine.scripting.loader import Now, Script
from engine.scripting.rows import Refusal

_log = Script("log", keys="active jobs", args="now", rows="id token fence row keep")

LogRow = tuple[str, Claimed | None, str, int | None]
"""A job's id, the claim that writes (None: a producer), the text, and how many of the newest rows are kept (None: all)."""


async def log(link: Link, keys: Keys, rows: Iterable[LogRow], *, now: Now = "") -> list[int | Refusal]:
    """Append at most 1,000 rows. Returns for each how many rows the job's log has now, or why it was refused."""
    slots: list[Argument] = []
    for id, claim, row, keep in rows:
        slots += (id, claim.token if claim else "", claim.fence if claim else 0, row, "" if keep is None else keep)
    answers = await _log(link, keys, now, rows=slots)
    return [count if count >= 0 else Refusal(-count) for count in answers]
