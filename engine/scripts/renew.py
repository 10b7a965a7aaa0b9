"""Renew the locks of running jobs (lua/renew.lua)."""

from __future__ import annotations

from collections.abc import Sequence

from engine.connection import Link
from engine.model.keys import Keys
from engine.model.records import Claimed
from engine.scripting.loader import Now, Script
from engine.scripting.rows import Refusals, claim_slots, read_refusals

_renew = Script("renew", keys="active stalled watch jobs", args="now lock", rows="id token fence")


async def renew(link: Link, keys: Keys, jobs: Sequence[Claimed], *, lock_ms: int, now: Now = "") -> Refusals:
    """Make the locks of at most 1,000 jobs expire `lock_ms` from now. A refused job is no longer this claim's."""
    return read_refusals(await _renew(link, keys, now, lock_ms, rows=claim_slots(jobs)))
