"""One connection shared by all calls of a Queue, FlowProducer, QueueEvents or JobQueueService: opened once, closed once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from engine.connection.connection import Connection
from engine.connection.redis_py import RedisPyLink
from engine.errors import QueueClosed


class SharedLink:
    """A connection that the first call opens, that every call uses, and that `close` ends.

    owner: what the message of QueueClosed names, such as "queue 'sms'".
    connect: opens the connection.
    prepare: is called with each new connection before any other call uses it. If it raises, the connection is closed.
    lent: an open connection to use instead of one of its own. `close` leaves it open.
    """

    __slots__ = ("_closed", "_connect", "_lent", "_opening", "_owner", "_prepare", "link")

    def __init__(
        self,
        owner: str,
        connect: Callable[[], Awaitable[Connection | RedisPyLink]],
        *,
        prepare: Callable[[Connection | RedisPyLink], Awaitable[object]] | None = None,
        lent: Connection | RedisPyLink | None = None,
    ) -> None:
        self._owner = owner
        self._connect = connect
        self._prepare = prepare
        self._lent = lent
        self._closed = False
        self._opening: asyncio.Task[Connection | RedisPyLink] | None = None
        self.link: Connection | RedisPyLink | None = None
        """The open connection; None before the first call and after `close`."""

    def __repr__(self) -> str:
        return f"<SharedLink of {self._owner}: {'open' if self.link else 'not connected'}>"

    async def open(self) -> Connection | RedisPyLink:
        """Connect, also after `close`. Raises what `connect` and `prepare` raise."""
        self._closed = False
        return await self.ready()

    async def ready(self) -> Connection | RedisPyLink:
        """The connection. The first call opens it; calls made at the same time share one attempt.

        Raises QueueClosed after `close`, and what `connect` and `prepare` raise.
        """
        if self.link is not None:
            return self.link
        if self._closed:
            raise QueueClosed(self._owner)
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._open())
            # The error is also raised in each call that waits, unless all of these were cancelled.
            self._opening.add_done_callback(lambda task: task.cancelled() or task.exception())
        opening = self._opening
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if opening.cancelled() and not (task and task.cancelling()):
                raise QueueClosed(self._owner) from None
            raise

    async def close(self) -> None:
        """Close the connection, unless it was lent. Calls that wait for it and later ones raise QueueClosed."""
        self._closed = True
        opening, self._opening = self._opening, None
        if opening is not None and not opening.done():
            opening.cancel()
            await asyncio.wait([opening])
        link, self.link = self.link, None
        if link is not None and link is not self._lent:
            await link.close()

    async def _open(self) -> Connection | RedisPyLink:
        link = self._lent or await self._connect()
        try:
            if self._prepare is not None:
                await self._prepare(link)
        except BaseException:
            if link is not self._lent:
                await link.close()
            raise
        self.link = link
        return link
