"""Put jobs of dead workers back in line (lua/recover_stalled.lua)."""

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
    """back: the ids put back in line. next_ms: until the next sweep is due."""

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
    """Sweep the queue if it is due: no worker did so in the last `interval_ms`, or a lock that it saw ends before.

    After `gap_ms` without a look of any worker none sweeps before they have looked for `grace_ms`. `count` ids a call.
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
    """Sweep the queue without a grace, unless another sweep is recent; the ids put back."""
    found = await check_stalled(
        link, keys, interval_ms=interval_ms, max_stalls=max_stalls, gap_ms=0, grace_ms=0, count=count, now=now
    )
    return found.back
