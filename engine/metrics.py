"""Queue metrics: jobs finished per minute, jobs per name and per priority, and the job that has waited longest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal, get_args

from msgspec import Struct

from engine.connection import Link
from engine.errors import InvalidOption
from engine.model import states, wire
from engine.model.checks import did_you_mean, is_whole, whole_number
from engine.model.keys import Keys
from engine.model.options import read_options
from engine.model.records import to_datetime
from engine.scripting.pace import chunks
from engine.scripts.count_names import count_names
from engine.scripts.count_priorities import count_priorities
from engine.scripts.find_oldest import WaitingJob, find_oldest
from engine.scripts.get_metrics import get_metrics

MAX_METRICS = 20_160
"""Minutes: two weeks, the longest period that BullMQ has a constant for."""
Finished = Literal["completed", "failed"]
_STATES = {states.spoken(name) for name in wire.STATES} | {"paused"}
_MINUTE = 60_000


class Metrics(Struct, frozen=True):
    """Finished jobs per minute, counted by workers with `metrics=`. The same numbers as BullMQ's `getMetrics`."""

    total: int = 0
    """Jobs counted in all."""
    current: int = 0
    """Jobs of `total` that are in no closed minute yet: the first job of a later minute closes a minute."""
    per_minute: list[int] = []
    """Jobs finished in each of the requested minutes, newest first."""
    minutes: int = 0
    """How many minutes are stored."""
    newest: datetime | None = None
    """Start of minute 0, the newest closed one; minute n starts n minutes earlier. None if no minute is closed."""


class CountsPerType(Struct, frozen=True):
    """How many jobs in a state have each name, from a scan that ended at a limit or at the end."""

    counts: dict[str, int]
    """Job name -> count, the largest first. A job whose hash is missing counts under ""."""
    scanned: int
    """Jobs that were read."""
    complete: bool
    """True if all jobs were scanned; else the sample is the next to run, the next due, or the first finished."""


class OldestWaiting(Struct, frozen=True):
    """The waiting job that has been ready to run for the longest time."""

    id: str
    name: str
    age: timedelta
    """Time since it was added, its delay ended, or its last run started, whichever came last."""


async def measured(link: Link, keys: Keys, kind: Finished, start: int, end: int) -> Metrics:
    if kind not in get_args(Finished):
        raise InvalidOption(f"kind: {kind!r} is not counted; give 'completed' or 'failed'")
    for name, value in (("start", start), ("end", end)):
        if not is_whole(value):
            raise InvalidOption(f"{name}: {value!r} is not a whole number; 0 is the newest minute, -1 the oldest")
    found = await get_metrics(link, keys, kind=kind, start=start, end=end)
    newest = None
    if found.closed is not None and found.kept:
        newest = to_datetime((found.closed // _MINUTE - 1) * _MINUTE)
    return Metrics(found.total, found.total - found.until_then, found.counts, found.kept, newest)


async def counted_per_priority(link: Link, keys: Keys, priorities: Iterable[int] | None) -> dict[int, int]:
    if priorities is None:
        return await count_priorities(link, keys)
    wanted = list(dict.fromkeys(priorities))
    for priority in wanted:
        whole_number("priorities", priority, 0, wire.MAX_PRIORITY)
    found: dict[int, int] = {}
    for some in chunks(wanted):
        found |= await count_priorities(link, keys, some)
    return found


async def counted_per_type(link: Link, keys: Keys, state: str, limit: int) -> CountsPerType:
    if state not in _STATES:
        raise InvalidOption(
            f"state: {state!r} is not a state; states are {', '.join(sorted(_STATES))}{did_you_mean(str(state), _STATES)}"
        )
    whole_number("limit", limit, 1, hint="it is how many jobs are read")
    counts: Counter[str] = Counter()
    scanned, wanted, got = 0, 0, 0
    while scanned < limit and got == wanted:
        wanted = min(wire.MAX_ROWS, limit - scanned)
        got, found = await count_names(link, keys, state=state, start=scanned, count=wanted)
        counts.update(found)
        scanned += got
    complete = got < wanted or not (await count_names(link, keys, state=state, start=scanned, count=1))[0]
    return CountsPerType(dict(counts.most_common()), scanned, complete)


async def waited_longest(link: Link, keys: Keys) -> OldestWaiting | None:
    now, jobs = await find_oldest(link, keys)
    if not jobs:
        return None
    since, _, job = min((_since(job), number, job) for number, job in enumerate(jobs))
    return OldestWaiting(job.id, job.name, timedelta(milliseconds=max(0, now - since)))


def _since(job: WaitingJob) -> int:
    """When the job became ready to run, in Unix ms."""
    try:
        delay = read_options(job.opts).delay
    except (ValueError, RecursionError):
        delay = 0
    return max(job.timestamp + delay, job.processed_on)
