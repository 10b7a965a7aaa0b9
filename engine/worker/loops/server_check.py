"""Checks the server at the start and after each reconnect: it may be back with other settings, or be another server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from engine.connection import UNASKED, Connection, RedisPyLink, check_access, check_server, not_allowed
from engine.errors import LinkError, ServerError, ServerUnfit
from engine.worker.retry_delay import RetryDelay

logger = logging.getLogger("engine.worker")


_A_WRITE = ("HSET",)

Unfit = Callable[[ServerUnfit], None]


class ServerCheck:
    """Logs each warning once, and each reconnect. Calls `unfit` of a queue with the error if the server is unfit for it after a
    reconnect.

    A replica is accepted then: during a failover the old primary is one for a moment, and nothing can be written to it.
    name: of the worker, in the log. commands: what our user must be allowed to call. The server is asked about all of them on the keys
    of the first queue, and on those of each further queue about one that writes: it takes 0.1 ms to answer about all.
    """

    def __init__(
        self,
        link: Connection | RedisPyLink,
        *,
        name: str,
        allow: frozenset[str],
        require_durable: bool,
        commands: Sequence[str],
    ) -> None:
        self._link = link
        self._name = name
        self._allow = allow
        self._require_durable = require_durable
        self._commands = commands
        self._queues: list[tuple[Sequence[str], Unfit]] = []
        self._warned: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<ServerCheck {'running' if self._task is not None and not self._task.done() else 'idle'}>"

    async def start(self) -> None:
        """Check now, and after each reconnect from now on. Raises ServerUnfit."""
        await self._check(self._allow)
        self._link.on_connect.append(self._reconnected)

    async def stop(self) -> None:
        self._link.on_connect.remove(self._reconnected)
        self._cancel()

    async def add(self, keys: Sequence[str], unfit: Unfit, stack: AsyncExitStack) -> None:
        """Check these keys of a queue now, and after each reconnect until the stack ends. Raises ServerUnfit."""
        queue = keys, unfit
        self._queues.append(queue)
        stack.callback(self._queues.remove, queue)
        await self._check_keys(keys, self._allow, is_first=self._queues[0] is queue)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _reconnected(self) -> None:
        logger.info("%s: reconnected to Redis", self._name)
        self._cancel()
        self._task = asyncio.get_running_loop().create_task(self._check_again(), name="worker server check")

    async def _check_again(self) -> None:
        retry_delay = RetryDelay()
        while True:
            try:
                await self._check_all(self._allow | {"replica"})
                return
            except ServerError:
                await asyncio.sleep(retry_delay.wait())
            except LinkError:
                return  # the connection is lost again; the next reconnect checks again

    async def _check_all(self, allow: frozenset[str]) -> None:
        try:
            await self._check(allow)
        except ServerUnfit as error:
            for _, unfit in self._queues:
                unfit(error)
            return
        for number, (keys, unfit) in enumerate(list(self._queues)):
            try:
                await self._check_keys(keys, allow, is_first=not number)
            except ServerUnfit as error:
                unfit(error)

    async def _check(self, allow: frozenset[str]) -> None:
        self._warn(await check_server(self._link, allow=allow, require_durable=self._require_durable))

    async def _check_keys(self, keys: Sequence[str], allow: frozenset[str], *, is_first: bool) -> None:
        denied = await check_access(self._link, self._commands if is_first else _A_WRITE, keys, allow=allow)
        if denied:
            raise await not_allowed(self._link, denied, keys)
        if denied is None:
            self._warn([UNASKED])

    def _warn(self, warnings: Sequence[str]) -> None:
        for warning in warnings:
            if warning not in self._warned:
                self._warned.add(warning)
                logger.warning("%s", warning)
