"""Add the next run of a schedule, once (lua/advance_schedule.lua)."""

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
    """Whether a next run was added."""

    ADVANCED = 0
    """The next run was added."""
    ELSEWHERE = 1
    """The schedule's next run is another one, because it was added before; or there is no such schedule."""
    ENDED = 2
    """No run follows."""
    TAKEN = 3
    """At each of the times a run has already started."""


class Start(IntEnum):
    """Whether the run that starts may run."""

    RUN = 0
    SKIP = 1
    """Another run has not ended."""
    WAIT = 2
    """Run once the other run has ended."""


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
    """Add the run after the one due at `due`, at the first of `times` that is free; without times the schedule ends.

    `runs`: id of a run up to its time; empty for `repeat:<id>:`. `run`: id of the run due at `due`, from which the next run copies
    what the schedule's hash lacks; `starts`: that run is about to start. `due` None adds nothing and only decides about the start.
    """
    listed = ",".join(map(str, times))
    chain, start = await _advance_schedule(
        link,
        keys,
        now,
        id,
        "" if due is None else due,
        listed,
        runs or f"repeat:{id}:",
        head,
        priority,
        int(lifo),
        run,
        int(starts),
    )
    return Advanced(Chain(chain), Start(start))
