"""Checks the server at the start and after each reconnect: it may be back with other settings, or be another server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from engine.connection import Connection, RedisPyLink, check_server
from engine.errors import LinkError, ServerError, ServerUnfit
from engine.worker.retry_delay import RetryDelay

logger = logging.getLogger("engine.worker")


class ServerCheck:
    """Logs each warning once, and each reconnect. Calls `unfit` with the error if the server is unfit after a reconnect.

    A replica is accepted then: during a failover the old primary is one for a moment, and nothing can be written to it.
    """

    def __init__(
        self,
        link: Connection | RedisPyLink,
        *,
        worker: str,
        allow: frozenset[str],
        require_durable: bool,
        commands: Sequence[str],
        keys: Sequence[str],
        unfit: Callable[[ServerUnfit], None],
    ) -> None:
        self._link = link
        self._worker = worker
        self._allow = allow
        self._require_durable = require_durable
        self._commands = commands
        self._keys = keys
        self._unfit = unfit
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

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _reconnected(self) -> None:
        logger.info("%s: reconnected to Redis", self._worker)
        self._cancel()
        self._task = asyncio.get_running_loop().create_task(self._check_again(), name="worker server check")

    async def _check_again(self) -> None:
        retry_delay = RetryDelay()
        while True:
            try:
                await self._check(self._allow | {"replica"})
                return
            except ServerUnfit as error:
                self._unfit(error)
                return
            except ServerError:
                await asyncio.sleep(retry_delay.wait())
            except LinkError:
                return  # the connection is lost again; the next reconnect checks again

    async def _check(self, allow: frozenset[str]) -> None:
        warnings = await check_server(
            self._link,
            allow=allow,
            require_durable=self._require_durable,
            commands=self._commands,
            keys=self._keys,
        )
        for warning in warnings:
            if warning not in self._warned:
                self._warned.add(warning)
                logger.warning("%s", warning)
