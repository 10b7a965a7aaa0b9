"""Wakes an idle worker: waits for the queue's marker, for the next delayed job and for the end of a rate limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from engine.connection import Link, Reply
from engine.errors import LinkError
from engine.model import wire
from engine.model.keys import Keys
from engine.scripting.key_types import is_wrong_type, name_wrong_key
from engine.scripts.promote import promote
from engine.worker.loops.delayed_timer import DelayedTimer
from engine.worker.retry_delay import Report, Service
from engine.worker.turns import Turns

LIMITED_POLL = 1.0
"""Seconds after which a rate-limited worker checks whether the limit was changed."""


class BlockingLink(Link, Protocol):
    """A link that can also send blocking commands."""

    async def call_blocking(self, command: str, *rest: str | float, timeout: float) -> Reply: ...


class Wake:
    """Calls `Turns.poll` when a marker was written, a delayed job is due, a rate limit is over, or `drain_delay` seconds passed
    without a marker: a lost marker delays jobs by that much and no more.

    `blocking_link` is used for the blocking call alone; `link` for everything else.
    """

    def __init__(
        self,
        blocking_link: BlockingLink,
        link: Link,
        keys: Keys,
        turns: Turns,
        free: Callable[[], int],
        drain_delay: float,
        report: Report,
    ) -> None:
        self._blocking_link = blocking_link
        self._link = link
        self._keys = keys
        self._turns = turns
        self._free = free
        self._drain_delay = drain_delay
        self._report = report
        self._due = DelayedTimer(self._ring)
        self._unlimited = asyncio.Event()
        self._unlimited.set()
        self._limit_timer = DelayedTimer(self._limit_ended)
        self._promoting: asyncio.Task[None] | None = None
        self._service = Service("wake", self._turn, report)

    def __repr__(self) -> str:
        return f"<Wake {self._service!r} {self._due!r}>"

    def start(self) -> None:
        self._service.start()

    async def stop(self) -> None:
        self._due.stop()
        self._limit_timer.stop()
        await self._service.stop()
        if self._promoting is not None:
            self._promoting.cancel()
            await asyncio.wait([self._promoting])

    def due(self, next_due: int | None) -> None:
        """The next delayed job is due in `next_due` milliseconds; None: there is none."""
        if self._service.running:
            self._due.set(next_due)

    def limited(self, wait: int) -> None:
        """A rate limit lets nothing start for `wait` milliseconds; 0: jobs may start."""
        if wait and self._service.running:
            self._unlimited.clear()
            self._limit_timer.set(wait)
        elif not self._unlimited.is_set():
            self._limit_timer.stop()
            self._unlimited.set()

    def _limit_ended(self) -> None:
        self._unlimited.set()
        # Also if no slot is free: jobs wait, and perhaps no other worker knows; this one polls as soon as a slot is free.
        self._turns.poll()

    async def _turn(self) -> float:
        await self._turns.idle.wait()
        if not self._unlimited.is_set():
            # Jobs that are added now may not start: each marker would cost a turn for nothing.
            with suppress(TimeoutError):
                async with asyncio.timeout(min(LIMITED_POLL, self._drain_delay)):
                    await self._unlimited.wait()
            self._turns.poll()
            return 0
        try:
            popped = await self._blocking_link.call_blocking(
                "BZPOPMIN", self._keys.marker, self._drain_delay, timeout=self._drain_delay
            )
        except LinkError as error:
            # The reply that was lost may have been a marker.
            self._turns.poll()
            if is_wrong_type(error):
                raise await name_wrong_key(self._link, error, [(self._keys.marker, "zset")]) from None
            raise
        if popped is None or self._free() > 0:
            # Also for the marker of a delayed job: the reply to a turn says when it is due, by the server's clock.
            self._turns.poll()
        elif popped[1] == wire.MARKER_BASE.encode():
            # The slots were filled meanwhile: the marker is for another worker.
            await self._link.call("ZADD", self._keys.marker, 0, wire.MARKER_BASE)
        else:
            self._ring()
        # The turn leaves before the next call waits for `idle`.
        return 0

    def _ring(self) -> None:
        if self._free() > 0:
            self._turns.poll()
        elif self._promoting is None:
            self._promoting = asyncio.get_running_loop().create_task(self._promote(), name="worker promote")

    async def _promote(self) -> None:
        """Move delayed jobs that are due to the waiting ones, for other workers: this one has no free slot."""
        try:
            _, next_due = await promote(self._link, self._keys)
            self.due(next_due)
        except Exception as error:
            self._report(error)
            self.due(1000)
        finally:
            self._promoting = None
