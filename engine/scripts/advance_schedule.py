"""Make the next run of a schedule (lua/advance_schedule.lua)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from msgspec import Struct

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script

_advance_schedule = Script(
    "advance_schedule",
    keys="meta id wait paused active prioritized pc delayed repeat marker events jobs",
    args="now schedule due times runs head priority lifo run starts",
)


class Chain(IntEnum):
    """What became of the chain of runs."""

    ADVANCED = 0
    """The next run is there."""
    ELSEWHERE = 1
    """Its next run was another one: someone made it before; or there is no such schedule."""
    ENDED = 2
    """No run follows."""
    TAKEN = 3
    """At each of the times a job of that id has run."""


class Start(IntEnum):
    """What the run that begins may do."""

    RUN = 0
    SKIP = 1
    """Another run is under way."""
    WAIT = 2
    """Until the run that is under way has ended."""


class Advanced(Struct, frozen=True):
    chain: Chain
    start: Start


async def advance_schedule(
    link: Link,
    keys: Keys,
    *,
    id: str,
    due: int | None,
    times: Sequence[int],
    head: bytes,
    runs: str = "",
    priority: int = 0,
    lifo: bool = False,
    run: str = "",
    starts: bool = False,
    now: Now = "",
) -> Advanced:
    """Make the run that follows the one due at `due`, at the first of `times` that is free; without times the schedule has ended.

    `runs`: what the ids of its runs begin with, up to the time; empty for `repeat:<id>:`. `run`: id of the run due at `due`, which
    gives the next one what the schedule's hash does not say; `starts`: it is about to run. `due` None only asks about that.
    """
    said = ",".join(map(str, times))
    chain, start = await _advance_schedule(
        link,
        keys,
        now,
        id,
        "" if due is None else due,
        said,
        runs or f"repeat:{id}:",
        head,
        priority,
        int(lifo),
        run,
        int(starts),
    )
    return Advanced(Chain(chain), Start(start))
