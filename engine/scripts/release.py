"""Give claimed jobs back without using an attempt (lua/release.lua)."""

from __future__ import annotations

from collections.abc import Sequence

from engine.connection import Link
from engine.model.keys import Keys
from engine.model.records import Claimed
from engine.scripting.loader import Now, Script
from engine.scripting.rows import Refusals, claim_slots, read_refusals

_release = Script(
    "release",
    keys="meta wait paused active prioritized pc stalled marker events jobs",
    args="now",
    rows="id token fence",
)


async def release(link: Link, keys: Keys, jobs: Sequence[Claimed], *, now: Now = "") -> Refusals:
    """Give at most 1,000 jobs back to the front of the waiting ones, in this order."""
    return read_refusals(await _release(link, keys, now, rows=claim_slots(jobs)))
