"""Enqueue the jobs of dead workers again (lua/recover_stalled.lua)."""

from __future__ import annotations

from typing import NamedTuple

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script
from engine.scripting.pace import PER_CALL

_recover_stalled = Script(
    "recover_stalled",
    keys="meta wait paused active prioritized pc stalled stalled_check watch repeat marker events jobs",
    args="now interval max_stalls gap grace skip count",
)


class Recovery(NamedTuple):
    """back: ids of the recovered jobs. next_ms: milliseconds until the next recovery is due."""

    back: list[str]
    next_ms: int


async def check_stalled(
    link: Link,
    keys: Keys,
    *,
    interval_ms: int,
    max_stalls: int,
    gap_ms: int,
    grace_ms: int,
    count: int = PER_CALL,
    now: Now = "",
) -> Recovery:
    """Recover stalled jobs if it is due: no worker did so in the last `interval_ms`, or a lock has expired since.

    After an outage, `gap_ms` without this call by any worker, jobs are recovered only once workers have called it for `grace_ms`.
    `count` ids a call.
    """
    back: list[str] = []
    skip: int | str = ""
    next_ms = 0
    while skip != -1:
        ids, skip, next_ms = await _recover_stalled(
            link, keys, now, interval_ms, max_stalls, gap_ms, grace_ms, skip, count
        )
        back += [id.decode(errors="replace") for id in ids]
    return Recovery(back, next_ms)


async def recover_stalled(
    link: Link, keys: Keys, *, interval_ms: int, max_stalls: int, count: int = PER_CALL, now: Now = ""
) -> list[str]:
    """Recover stalled jobs without a grace, unless another recovery is recent; returns their ids."""
    found = await check_stalled(
        link, keys, interval_ms=interval_ms, max_stalls=max_stalls, gap_ms=0, grace_ms=0, count=count, now=now
    )
    return found.back
