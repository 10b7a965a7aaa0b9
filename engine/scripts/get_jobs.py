"""Return stored jobs with their states (lua/get_jobs.lua)."""

from __future__ import annotations

from collections.abc import Sequence

from engine.connection import Link
from engine.model import states
from engine.model.keys import Keys
from engine.model.records import Snapshot
from engine.scripting.loader import Now, Script
from engine.scripting.pace import PER_CALL
from engine.scripting.snapshots import ALL_PLACES, read_snapshot

_get_jobs = Script("get_jobs", keys=f"{ALL_PLACES} jobs", args="now", rows="id")


async def get_jobs(link: Link, keys: Keys, ids: Sequence[str], *, now: Now = "") -> list[Snapshot | None]:
    """Jobs with their states, in the order of `ids`; None for a job that does not exist."""
    found: list[Snapshot | None] = []
    while len(found) < len(ids):
        rows = await _get_jobs(link, keys, now, rows=ids[len(found) : len(found) + PER_CALL])
        found += [row and read_snapshot(row[:-1], states.spoken(row[-1].decode())) for row in rows]
    return found
