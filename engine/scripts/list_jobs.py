"""List jobs of one state by page (lua/list_jobs.lua)."""

from __future__ import annotations

from engine.connection import Link
from engine.errors import InvalidOption
from engine.model import states, wire
from engine.model.keys import Keys
from engine.model.records import Snapshot
from engine.scripting.loader import Now, Script
from engine.scripting.snapshots import ALL_PLACES, read_snapshot

_list_jobs = Script("list_jobs", keys=f"{ALL_PLACES} jobs", args="now state start count ascending")

_STATES = ("waiting", *(name for name in wire.STATES if name != "wait"))


async def list_jobs(
    link: Link, keys: Keys, *, state: str, start: int = 0, end: int = -1, ascending: bool = True, now: Now = ""
) -> list[Snapshot]:
    """Jobs number `start` to `end`, both included, of one state; at most 1,000, and -1 stands for as many.

    Ascending, number 0 is the next to run, the next due, or the one that was claimed or finished first. "waiting" is
    all waiting jobs without a priority, also in a paused queue. A job without a hash has only its id, and `is_there` is False.
    A page of over 1 MiB is read by several calls: jobs that move meanwhile may be missing in it, or be there twice.
    Raises InvalidOption for an unknown state or a `start` below 0.
    """
    if state not in _STATES:
        raise InvalidOption(f"state: {state!r} is no state; it is one of {', '.join(_STATES)}")
    if start < 0:
        raise InvalidOption(f"start: {start} is negative; count from 0, and use ascending=False for the other end")
    past = start + (wire.MAX_ROWS if end < 0 else min(wire.MAX_ROWS, end - start + 1))
    word = states.spoken(state)
    found: list[Snapshot] = []
    while start < past:
        rows = await _list_jobs(link, keys, now, state, start, past - start, 1 if ascending else 0)
        more = bool(rows) and rows[-1] == 1
        found += [read_snapshot(row, word) for row in (rows[:-1] if more else rows)]
        if not more:
            break
        start += len(rows) - 1
    return found
