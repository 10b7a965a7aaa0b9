"""What can be measured in a queue without running a job: how many finish a minute, what waits and for how long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal, get_args

from msgspec import Struct

from engine.connection import Link
from engine.errors import InvalidOption
from engine.model import states, wire
from engine.model.keys import Keys
from engine.model.options import read_options
from engine.model.records import moment
from engine.scripting.pace import chunks
from engine.scripts.count_names import count_names
from engine.scripts.count_priorities import count_priorities
from engine.scripts.find_oldest import InLine, find_oldest
from engine.scripts.get_metrics import get_metrics

MAX_METRICS = 20_160
"""Minutes: two weeks, the longest that BullMQ has a word for."""
Finished = Literal["completed", "failed"]
_STATES = {states.spoken(name) for name in wire.STATES} | {"paused"}
_MINUTE = 60_000


class Metrics(Struct, frozen=True):
    """Jobs finished, counted by the workers that were told to. The same numbers as in BullMQ's `getMetrics`."""

    total: int = 0
    """Jobs counted in all."""
    current: int = 0
    """Those of them that are in no minute yet: a minute is closed by the first job of a later one."""
    per_minute: list[int] = []
    """The minutes asked for, newest first."""
    minutes: int = 0
    """How many minutes are kept."""
    newest: datetime | None = None
    """When minute 0, the newest that is closed, began; minute n began n minutes before. None while there is none."""


class CountsPerType(Struct, frozen=True):
    """How many of the jobs in a state have each name, from a walk that ended at a limit or at the end."""

    counts: dict[str, int]
    """By name, the most first. A job whose hash is gone counts under ""."""
    scanned: int
    complete: bool
    """Whether all were looked at; else these are the next to run, due, or the first finished."""


class OldestWaiting(Struct, frozen=True):
    """The job in line that could have run for the longest time."""

    id: str
    name: str
    age: timedelta
    """Since it was made, or its delay was over, or its last run began, whichever came last."""


async def measured(link: Link, keys: Keys, kind: Finished, start: int, end: int) -> Metrics:
    if kind not in get_args(Finished):
        raise InvalidOption(f"kind: {kind!r} is not counted; give completed or failed")
    for name, value in (("start", start), ("end", end)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidOption(f"{name}: {value!r} is not a whole number; 0 is the newest minute, -1 the oldest")
    found = await get_metrics(link, keys, kind=kind, start=start, end=end)
    newest = None
    if found.closed is not None and found.kept:
        newest = moment((found.closed // _MINUTE - 1) * _MINUTE)
    return Metrics(found.total, found.total - found.until_then, found.counts, found.kept, newest)


async def counted_per_priority(link: Link, keys: Keys, asked: Iterable[int] | None) -> dict[int, int]:
    if asked is None:
        return await count_priorities(link, keys)
    wanted = list(dict.fromkeys(asked))
    for priority in wanted:
        if isinstance(priority, bool) or not isinstance(priority, int) or not 0 <= priority <= wire.MAX_PRIORITY:
            raise InvalidOption(f"priorities: {priority!r} is none; give whole numbers from 0 to {wire.MAX_PRIORITY:,}")
    found: dict[int, int] = {}
    for some in chunks(wanted):
        found |= await count_priorities(link, keys, some)
    return found


async def counted_per_type(link: Link, keys: Keys, state: str, limit: int) -> CountsPerType:
    if state not in _STATES:
        raise InvalidOption(f"state: {state!r} is no state; it is one of {', '.join(sorted(_STATES))}")
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise InvalidOption(f"limit: {limit!r} is not a whole number over 0; it is how many jobs are looked at")
    counts: Counter[str] = Counter()
    seen, wanted, looked_at = 0, 0, 0
    while seen < limit and looked_at == wanted:
        wanted = min(wire.MAX_ROWS, limit - seen)
        looked_at, found = await count_names(link, keys, state=state, start=seen, count=wanted)
        counts.update(found)
        seen += looked_at
    complete = looked_at < wanted or not (await count_names(link, keys, state=state, start=seen, count=1))[0]
    return CountsPerType(dict(counts.most_common()), seen, complete)


async def waited_longest(link: Link, keys: Keys) -> OldestWaiting | None:
    now, jobs = await find_oldest(link, keys)
    if not jobs:
        return None
    since, _, job = min((_since(job), number, job) for number, job in enumerate(jobs))
    return OldestWaiting(job.id, job.name, timedelta(milliseconds=max(0, now - since)))


def _since(job: InLine) -> int:
    """From when on a job could have run, ms."""
    try:
        delay = read_options(job.opts).delay
    except (ValueError, RecursionError):
        delay = 0
    return max(job.timestamp + delay, job.processed_on)
