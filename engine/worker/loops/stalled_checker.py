"""Recovers stalled jobs, whose locks have expired, and notifies parents that missed the end of a child."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from engine.connection import Link
from engine.model.clock import monotonic
from engine.model.keys import Keys
from engine.scripting.key_types import call_typed
from engine.scripts.notify_parents import notify_parents
from engine.scripts.recover_stalled import check_stalled
from engine.worker.retry_delay import Report, Service

RECONNECT_MS = 4_000
"""Within this time every living worker is connected again after an outage: its longest retry delay, and a little."""
CHECK_MS = 1_000
"""Longest time between two checks of one worker: so short that the end of one worker leaves no gap."""


class StalledChecker:
    """Asks every second whether a check for stalled jobs is due: every `interval_ms`, and when a lock expires.

    While no job of the queue is active, it only asks whether that is still so, and for a check every `interval_ms`: there is no lock
    that could have expired.

    The server decides (lua/recover_stalled.lua). A gap in the checks of all workers counts as an outage; it is so short that no
    lock of a living worker that reconnects in time has expired. The grace time then lets each of them renew its locks.
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
        self._gap_ms = max(lock_ms - renew_ms - RECONNECT_MS, CHECK_MS)
        self._grace_ms = max(RECONNECT_MS, renew_ms + CHECK_MS)
        self._check_ms = min(CHECK_MS, self._gap_ms // 5, interval_ms)
        self._max_stalls = max_stalls
        self._stalled = stalled
        self._none_active_until = 0.0
        """Monotonic time until which no check is made without active jobs."""
        self._jobs = Service("stalled checker", self._check, report)
        self._parents = Service("parents", self._notify_parents, report)

    def __repr__(self) -> str:
        return f"<StalledChecker {self._jobs!r}>"

    def start(self) -> None:
        self._jobs.start()
        self._parents.start()

    async def stop(self) -> None:
        await self._jobs.stop()
        await self._parents.stop()

    async def _check(self) -> float:
        now = monotonic()
        if now < self._none_active_until and not await call_typed(self._link, "list", "LLEN", self._keys.active):
            return self._wait(self._check_ms)
        self._none_active_until = now + self._interval_ms / 1000
        found = await check_stalled(
            self._link,
            self._keys,
            interval_ms=self._interval_ms,
            max_stalls=self._max_stalls,
            gap_ms=self._gap_ms,
            grace_ms=self._grace_ms,
        )
        self._stalled(found.back)
        return self._wait(min(self._check_ms, found.next_ms))

    def _wait(self, ms: int) -> float:
        """Seconds, with jitter, so that many workers do not check at once."""
        return (ms + self._check_ms * random.uniform(0, 0.1)) / 1000

    async def _notify_parents(self) -> float:
        await notify_parents(self._link, self._keys, interval_ms=self._interval_ms)
        return self._interval_ms / 1000 * random.uniform(1.0, 1.2)
