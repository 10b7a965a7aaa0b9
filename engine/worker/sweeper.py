"""Looks after jobs of dead workers, whose locks have ended, and parents that were not told of their children."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Protocol

from engine.clock import monotonic
from engine.keys import Keys
from engine.link import Link
from engine.scripts.catch_up import catch_up
from engine.scripts.sweep import sweep
from engine.worker.service import Report, Service

COMEBACK = 4.0
"""Seconds within which every living worker is back after an outage: its longest wait between two tries, and a little."""


class SteadyLink(Link, Protocol):
    """A link that knows since when its line is up."""

    @property
    def connected_since(self) -> float | None: ...


class Sweeper:
    """Sweeps every `interval_ms`, and only after one whole lock of unbroken connection: after an outage longer than a
    lock all locks have ended, and the living workers get that long to renew theirs, and long enough to come back at all.
    """

    def __init__(
        self,
        link: SteadyLink,
        keys: Keys,
        *,
        interval_ms: int,
        lock_ms: int,
        max_stalls: int,
        stalled: Callable[[Iterable[str]], None],
        report: Report,
    ) -> None:
        self._link = link
        self._keys = keys
        self._interval_ms = interval_ms
        self._steady = lock_ms / 1000
        self._max_stalls = max_stalls
        self._stalled = stalled
        self._first_line = link.connected_since
        self._service = Service("sweeper", self._turn, report)

    def __repr__(self) -> str:
        return f"<Sweeper {self._service!r}>"

    def start(self) -> None:
        self._service.start()

    async def stop(self) -> None:
        await self._service.stop()

    async def _turn(self) -> float:
        missing = self._wanted() - self._unbroken()
        if missing > 0:
            return missing + 0.001
        self._stalled(await sweep(self._link, self._keys, interval_ms=self._interval_ms, max_stalls=self._max_stalls))
        await catch_up(self._link, self._keys, interval_ms=self._interval_ms)
        # By chance, so that the sweeps of many workers do not fall together.
        return self._interval_ms / 1000 * random.uniform(1.0, 1.2)

    def _wanted(self) -> float:
        """Seconds that the line must have been up."""
        return self._steady if self._link.connected_since == self._first_line else max(self._steady, COMEBACK)

    def _unbroken(self) -> float:
        """Seconds that the line has been up."""
        since = self._link.connected_since
        return 0.0 if since is None else monotonic() - since
