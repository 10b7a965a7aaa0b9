"""Wakes an idle worker: waits for the queue's marker, for the next delayed job and for the end of a rate limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from engine.connection import Link
from engine.errors import ServerError
from engine.model import wire
from engine.model.keys import Keys
from engine.scripts.promote import promote
from engine.worker.loops.delayed_timer import DelayedTimer
from engine.worker.loops.marker_wait import MarkerWait
from engine.worker.retry_delay import Report
from engine.worker.turns import Turns

LIMITED_POLL = 1_000
"""Milliseconds after which a rate-limited worker checks whether the limit was changed."""
_BROKEN_MS = 1_000
"""Milliseconds for which no marker is waited for after it was found to be no sorted set."""


class Wake:
    """Calls `Turns.poll` when a marker was written, a delayed job is due, a rate limit is over, or `drain_delay` seconds passed
    without a turn: a lost marker delays jobs by that much and no more.
    """

    def __init__(
        self,
        wait: MarkerWait,
        link: Link,
        keys: Keys,
        turns: Turns,
        free: Callable[[], int],
        drain_delay: float,
        report: Report,
    ) -> None:
        self.marker = keys.marker
        self.drain_delay = drain_delay
        self._wait = wait
        self._link = link
        self._keys = keys
        self._turns = turns
        self._free = free
        self._report = report
        self._running = False
        self._due = DelayedTimer(self._ring)
        self._limited = False
        self._limit_timer = DelayedTimer(self._limit_ended)
        self._broken = False
        self._broken_timer = DelayedTimer(self._mended)
        self._promoting: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Wake {'running' if self._running else 'idle'} {self._due!r}>"

    def start(self) -> None:
        if not self._running:
            self._running = True
            self._wait.add(self)

    async def stop(self) -> None:
        self._running = False
        for timer in (self._due, self._limit_timer, self._broken_timer):
            timer.stop()
        await self._wait.remove(self)
        if self._promoting is not None:
            self._promoting.cancel()
            await asyncio.wait([self._promoting])

    def due(self, next_due: int | None) -> None:
        """The next delayed job is due in `next_due` milliseconds; None: there is none."""
        if self._running:
            self._due.set(next_due)

    def limited(self, wait: int) -> None:
        """A rate limit lets nothing start for `wait` milliseconds; 0: jobs may start."""
        if wait and self._running:
            self._limited = True
            # Polls before the end of a long limit: it may have been changed.
            self._limit_timer.set(min(wait, LIMITED_POLL, round(self.drain_delay * 1000)))
        elif self._limited:
            self._limited = False
            self._limit_timer.stop()
            self._wait.changed(self)

    def became_idle(self) -> None:
        """A slot is free, and there is nothing to claim."""
        if self._running:
            self._wait.changed(self)

    def _limit_ended(self) -> None:
        self._limited = False
        # Also if no slot is free: jobs wait, and perhaps no other worker knows; this one polls as soon as a slot is free.
        self._turns.poll()

    # -- what MarkerWait asks and calls ----------------------------------------------------------------------------

    @property
    def wanted(self) -> bool:
        # Under a rate limit each marker would cost a turn for nothing.
        return self._turns.idle.is_set() and not self._limited and not self._broken

    def left(self, now: float) -> float:
        return self._turns.last + self.drain_delay - now

    def poll(self) -> None:
        self._turns.poll()

    async def popped(self, member: bytes) -> None:
        if self._free() > 0:
            # Also for the marker of a delayed job: the reply to a turn says when it is due, by the server's clock.
            self._turns.poll()
        elif member == wire.MARKER_BASE.encode():
            # The slots were filled meanwhile: the marker is for another worker.
            await self._link.call("ZADD", self._keys.marker, 0, wire.MARKER_BASE)
        else:
            self._ring()

    def broken(self, error: ServerError) -> None:
        self._broken = True
        self._broken_timer.set(_BROKEN_MS)
        self._report(error)

    def report(self, error: BaseException) -> None:
        self._report(error)

    def _mended(self) -> None:
        self._broken = False
        self._wait.changed(self)

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
