"""The sleep of an idle worker: on the queue's marker, five seconds at most, and on timers for the next delayed job and for
the end of a rate limit."""

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
from engine.worker.loops.delayed_timer import Due
from engine.worker.retry_delay import Report, Service
from engine.worker.turns import Turns

UNASKED = 1.0
"""Seconds after which a worker that a rate limit holds up looks whether the limit was changed."""


class BlockingLink(Link, Protocol):
    """A link that can also wait at the server."""

    async def call_blocking(self, command: str, *rest: str | float, timeout: float) -> Reply: ...


class Wake:
    """Tells the turns to look when there is reason to: a marker was written, a delayed job is due, a rate limit is over, or nobody spoke for
    `drain_delay` seconds, so that a lost marker costs that much and no more.

    `line` is used for the blocking call alone; `link` for all else.
    """

    def __init__(
        self,
        line: BlockingLink,
        link: Link,
        keys: Keys,
        turns: Turns,
        free: Callable[[], int],
        drain_delay: float,
        report: Report,
    ) -> None:
        self._line = line
        self._link = link
        self._keys = keys
        self._turns = turns
        self._free = free
        self._drain_delay = drain_delay
        self._report = report
        self._due = Due(self._ring)
        self._open = asyncio.Event()
        self._open.set()
        self._opens = Due(self._opened)
        self._promoting: asyncio.Task[None] | None = None
        self._service = Service("wake", self._turn, report)

    def __repr__(self) -> str:
        return f"<Wake {self._service!r} {self._due!r}>"

    def start(self) -> None:
        self._service.start()

    async def stop(self) -> None:
        self._due.stop()
        self._opens.stop()
        await self._service.stop()
        if self._promoting is not None:
            self._promoting.cancel()
            await asyncio.wait([self._promoting])

    def due(self, next_due: int | None) -> None:
        """The next delayed job is due in so many milliseconds."""
        if self._service.running:
            self._due.tell(next_due)

    def closed(self, wait: int) -> None:
        """A rate limit lets nothing start for `wait` milliseconds; 0: none is in the way."""
        if wait and self._service.running:
            self._open.clear()
            self._opens.tell(wait)
        elif not self._open.is_set():
            self._opens.stop()
            self._open.set()

    def _opened(self) -> None:
        self._open.set()
        # A worker that is busy to its limit looks when it has a free slot: jobs wait, and nobody else may know.
        self._turns.look()

    async def _turn(self) -> float:
        await self._turns.idle.wait()
        if not self._open.is_set():
            # Markers tell of jobs that may not start: each would cost a turn for nothing.
            with suppress(TimeoutError):
                async with asyncio.timeout(min(UNASKED, self._drain_delay)):
                    await self._open.wait()
            self._turns.look()
            return 0
        try:
            popped = await self._line.call_blocking(
                "BZPOPMIN", self._keys.marker, self._drain_delay, timeout=self._drain_delay
            )
        except LinkError as error:
            # The reply that was lost may have been a marker.
            self._turns.look()
            if is_wrong_type(error):
                raise await name_wrong_key(self._link, error, [(self._keys.marker, "zset")]) from None
            raise
        if popped is None or self._free() > 0:
            # Also for the marker of a delayed job: a turn tells when it is due, by the server's clock.
            self._turns.look()
        elif popped[1] == wire.MARKER_BASE.encode():
            # The slots were filled meanwhile: the marker is for another worker.
            await self._link.call("ZADD", self._keys.marker, 0, wire.MARKER_BASE)
        else:
            self._ring()
        # Let the turn set out before asking whether the worker is idle.
        return 0

    def _ring(self) -> None:
        if self._free() > 0:
            self._turns.look()
        elif self._promoting is None:
            self._promoting = asyncio.get_running_loop().create_task(self._promote(), name="worker promote")

    async def _promote(self) -> None:
        """Put the jobs that are due in line for other workers: this one is busy to its limit."""
        try:
            _, next_due = await promote(self._link, self._keys)
            self.due(next_due)
        except Exception as error:
            self._report(error)
            self.due(1000)
        finally:
            self._promoting = None
