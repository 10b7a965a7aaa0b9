"""Waits for the markers of queues: one blocking call on one connection, for one queue or for several."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Protocol

from engine.connection import Connection, Link, RedisPyLink, Reply, SharedLink
from engine.errors import LinkError, ServerError
from engine.model import wire
from engine.model.clock import monotonic
from engine.scripting.key_types import is_wrong_type, name_wrong_key
from engine.worker.retry_delay import Service

SETTLE = 0.002
"""Seconds that the next call waits at most for the turn of a queue that was just woken, so that it includes that queue."""
_LEAST_TIMEOUT = 0.001
_EARLY = 0.1
"""Part of its drain delay by which a queue may be polled early, together with others."""
_POKE_KEPT = 60_000


class Sleeper(Protocol):
    """An idle worker that waits for the marker of its queue."""

    marker: str
    drain_delay: float

    @property
    def wanted(self) -> bool:
        """Whether a marker would be of use now: a slot is free, nothing else is known to wait, and no rate limit holds."""

    def left(self, now: float) -> float:
        """Seconds until the queue has to be polled without a marker."""

    def poll(self) -> None:
        """Look for jobs: the marker may have been lost, or was not written for a long time."""

    async def popped(self, member: bytes) -> None:
        """The marker was written, and is taken."""

    def broken(self, error: ServerError) -> None:
        """The marker is no sorted set: the queue is not `wanted` for a while."""

    def report(self, error: BaseException) -> None:
        """Waiting failed, and is retried."""


class _Ignored:
    """Takes the reply of a command that nobody waits for."""

    def done(self) -> bool:
        return False

    def set_result(self, reply: Reply) -> None: ...

    def set_exception(self, error: Exception) -> None: ...


class MarkerWait:
    """Calls `popped` of a queue's sleeper when its marker was written, and `poll` each `drain_delay` seconds without one.

    connect: opens the connection; it is used for the blocking call alone, `link` for everything else. poke: a key that only
    this object uses: writing it ends the blocking call, so that the next one includes a queue that has become idle.

    A blocking call names the queues that are idle when it leaves. It takes the first marker in the order of its keys, so the
    order rotates.
    """

    def __init__(self, connect: Callable[[], Awaitable[Connection | RedisPyLink]], link: Link, poke: str) -> None:
        self.users = 0
        """Queues that use it or are about to; kept by its owner."""
        self._shared_link = SharedLink("a worker that waits for markers", connect)
        self._link = link
        self._poke = poke
        self._sleepers: dict[bytes, Sleeper] = {}
        self._called: Sequence[Sleeper] = ()  # those for which the blocking call waits
        self._changed = asyncio.Event()
        self._poked = False
        self._first = 0
        self._service = Service("markers", self._turn, self._report)

    def __repr__(self) -> str:
        return f"<MarkerWait {self._service!r}, {len(self._called)} of {len(self._sleepers)} queues>"

    async def open(self) -> None:
        """Connect. Raises ConnectFailed."""
        await self._shared_link.open()

    async def close(self) -> None:
        await self._service.stop()
        await self._shared_link.close()

    def add(self, sleeper: Sleeper) -> None:
        self._sleepers[sleeper.marker.encode()] = sleeper
        self._service.start()
        self.changed(sleeper)

    async def remove(self, sleeper: Sleeper) -> None:
        """No marker of this queue is taken from now on."""
        if self._sleepers.pop(sleeper.marker.encode(), None) is None:
            return
        others = [other for other in self._called if other is not sleeper]
        if len(others) < len(self._called) or not self._sleepers:
            # It drops the connection: the server would take a marker for a queue that nobody serves here.
            await self._service.stop()
            for other in others:
                other.poll()
            if self._sleepers:
                self._service.start()

    def changed(self, sleeper: Sleeper) -> None:
        """This queue may have become idle."""
        self._changed.set()
        if self._called and sleeper not in self._called and not self._poked:
            self._poked = True
            # If this fails the queue is included after the drain delay. The key is gone at once, unless this process ends here.
            self._link.post(_Ignored(), "ZADD", self._poke, 0, wire.MARKER_BASE)
            self._link.post(_Ignored(), "PEXPIRE", self._poke, _POKE_KEPT)

    async def _turn(self) -> float:
        now = monotonic()
        idle = [sleeper for sleeper in self._sleepers.values() if sleeper.wanted]
        if not idle:
            self._changed.clear()
            await self._changed.wait()
            return 0
        timeout = min(sleeper.left(now) for sleeper in idle)
        if timeout <= 0:
            overdue = [sleeper for sleeper in idle if sleeper.left(now) <= sleeper.drain_delay * _EARLY]
            for sleeper in overdue:
                sleeper.poll()
            await self._settle(overdue)
            return 0
        self._first += 1
        first = self._first % len(idle)
        popped = await self._wait([*idle[first:], *idle[:first]], max(timeout, _LEAST_TIMEOUT))
        if popped is not None and popped[0] in self._sleepers:
            sleeper = self._sleepers[popped[0]]
            await sleeper.popped(popped[1])
            await self._settle([sleeper])
        return 0

    async def _wait(self, sleepers: Sequence[Sleeper], timeout: float) -> list[bytes] | None:
        """The marker that was written first, if any was in `timeout` seconds: key, member, score."""
        link = await self._shared_link.ready()
        keys = [sleeper.marker for sleeper in sleepers]
        if len(self._sleepers) > 1:
            keys.insert(0, self._poke)
        self._called = sleepers
        try:
            popped: list[bytes] | None = await link.call_blocking("BZPOPMIN", *keys, timeout, timeout=timeout)
            return popped
        except LinkError as error:
            # The reply that was lost may have been a marker.
            for sleeper in sleepers:
                sleeper.poll()
            if not is_wrong_type(error):
                raise
            await self._leave_out_broken(sleepers, error)
            return None
        finally:
            self._called = ()
            self._poked = False

    async def _settle(self, sleepers: Iterable[Sleeper]) -> None:
        """Let the turns of these queues leave, and those of several queues return: then the next call can include them again."""
        if len(self._sleepers) == 1:
            return
        await asyncio.sleep(0)
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE):
                while not all(sleeper.wanted for sleeper in sleepers):
                    self._changed.clear()
                    await self._changed.wait()

    async def _leave_out_broken(self, sleepers: Iterable[Sleeper], error: ServerError) -> None:
        found = False
        for sleeper in sleepers:
            named = await name_wrong_key(self._link, error, [(sleeper.marker, "zset")])
            if named is not error:
                found = True
                sleeper.broken(named)
        if not found:
            raise error

    def _report(self, error: BaseException) -> None:
        for sleeper in self._sleepers.values():
            sleeper.report(error)
