"""Put jobs of dead workers back in line (lua/sweep.lua)."""

from __future__ import annotations

from engine.keys import Keys
from engine.link import Link
from engine.script import Now, Script
from engine.scripts.pace import PER_CALL

_sweep = Script(
    "sweep",
    keys="meta wait paused active prioritized pc stalled stalled_check repeat marker events jobs",
    args="now interval max_stalls skip count",
)


async def sweep(
    link: Link, keys: Keys, *, interval_ms: int, max_stalls: int, count: int = PER_CALL, now: Now = ""
) -> list[str]:
    """Sweep the queue unless any worker did so in the last `interval_ms`; the ids put back. `count` ids a call."""
    back: list[str] = []
    skip: int | str = ""
    while skip != -1:
        ids, skip = await _sweep(link, keys, now, interval_ms, max_stalls, skip, count)
        back += [id.decode(errors="replace") for id in ids]
    return back
