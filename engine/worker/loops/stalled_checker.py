"""Looks after jobs of dead workers, whose locks have ended, and parents that were not told of their children."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripts.notify_parents import notify_parents
from engine.scripts.recover_stalled import check_stalled
from engine.worker.retry_delay import Report, Service

COMEBACK_MS = 4_000
"""Within that every living worker is back after an outage: its longest wait between two tries, and a little."""
LOOK_MS = 1_000
"""Between the looks of one worker, at most: so often that the end of one worker leaves no gap in them."""


class StalledChecker:
    """Looks every second whether a sweep is due, which is every `interval_ms` and where a lock ends.

    The server decides (lua/recover_stalled.lua). The gap in the looks of all workers that it takes for an outage is short enough for
    no lock to have ended of a worker that lives, and is back in time; the grace then lets each of them renew its locks.
    """

    def __init__(
        self,
        link: Link,
        keys: Keys,
        *,
        interval_ms: int,
        lock_ms: int,
        renew_ms: int,
        max_stalls: int,
        stalled: Callable[[Iterable[str]], None],
        report: Report,
    ) -> None:
        self._link = link
        self._keys = keys
        self._interval_ms = interval_ms
        self._gap_ms = max(lock_ms - renew_ms - COMEBACK_MS, LOOK_MS)
        self._grace_ms = max(COMEBACK_MS, renew_ms + LOOK_MS)
        self._look_ms = min(LOOK_MS, self._gap_ms // 5, interval_ms)
        self._max_stalls = max_stalls
        self._stalled = stalled
        self._jobs = Service("sweeper", self._look, report)
        self._parents = Service("parents", self._catch_up, report)

    def __repr__(self) -> str:
        return f"<StalledChecker {self._jobs!r}>"

    def start(self) -> None:
        self._jobs.start()
        self._parents.start()

    async def stop(self) -> None:
        await self._jobs.stop()
        await self._parents.stop()

    async def _look(self) -> float:
        recovered = await check_stalled(
            self._link,
            self._keys,
            interval_ms=self._interval_ms,
            max_stalls=self._max_stalls,
            gap_ms=self._gap_ms,
            grace_ms=self._grace_ms,
        )
        self._stalled(recovered.back)
        # By chance, so that the looks of many workers do not fall together.
        return (min(self._look_ms, recovered.next_ms) + self._look_ms * random.uniform(0, 0.1)) / 1000

    async def _catch_up(self) -> float:
        await notify_parents(self._link, self._keys, interval_ms=self._interval_ms)
        return self._interval_ms / 1000 * random.uniform(1.0, 1.2)
