"""SharedParts: what the workers of one process share: connections, the renewal of locks, the loop monitor, the server check."""

from __future__ import annotations

import functools
import secrets
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack

from engine.connection import Connection, RedisPyLink, SharedLink
from engine.model.keys import Keys
from engine.scripting.loader import Script, all_scripts, guard, loading
from engine.worker.loops.loop_monitor import LoopMonitor
from engine.worker.loops.marker_wait import MarkerWait
from engine.worker.loops.renewer import Renewer
from engine.worker.loops.server_check import ServerCheck, Unfit
from engine.worker.reports import RecentErrors
from engine.worker.turns import TurnsInFlight

MAX_WAITING = 16
"""Connections that wait for markers. Up to so many queues have one each; more queues share them."""
Prelude = Sequence[tuple[str, ...]]
Connect = Callable[[str, Prelude], Awaitable[Connection | RedisPyLink]]
"""Opens a connection of this client name that first sends these commands."""
Suspects = Callable[[], Iterable[str]]
"""What runs, or just ran, on the event loop of a worker."""


class SharedParts:
    """The parts that workers of one event loop and one Redis share. The first to `join` opens them, the last to leave closes them.

    name: of the workers, in the log. client_name: of the connection for commands, in CLIENT LIST. allow, require_durable: see `check_server`.

    Each of the first MAX_WAITING queues has a connection of its own that waits for its marker, under the name by which BullMQ's
    `getWorkers` finds it. Further queues share these connections.
    """

    def __init__(
        self, name: str, client_name: str, connect: Connect, *, allow: frozenset[str], require_durable: bool
    ) -> None:
        self.in_flight = TurnsInFlight()
        self.recent_errors = RecentErrors()
        self.monitor = LoopMonitor(self._all_suspects)
        self.renewer: Renewer
        self._name = name
        self._client_name = client_name
        self._connect = connect
        self._allow = allow
        self._require_durable = require_durable
        self._keys: Keys
        self._check: ServerCheck
        self._link = SharedLink(f"worker {name}", self._open, prepare=self._prepare)
        self._users = 0
        self._waits: list[MarkerWait] = []
        self._suspects: list[Suspects] = []

    def __repr__(self) -> str:
        return f"<SharedParts of {self._users} workers, {len(self._waits)} waiting connections>"

    async def join(self, keys: Keys, unfit: Unfit, stack: AsyncExitStack) -> Connection | RedisPyLink:
        """The connection for the commands of one more queue, until the stack ends. unfit: see ServerCheck.

        Raises ConnectFailed or ServerUnfit.
        """
        if not self._users:
            self._keys = keys
        self._users += 1
        stack.push_async_callback(self._leave)
        link = await self._link.open()
        if self._users > 1 and isinstance(link, Connection):
            link.gathers_posts = True
        await self._check.add([keys.meta, keys.wait, keys.active], unfit, stack)
        return link

    async def wait_for(self, keys: Keys, name: str, stack: AsyncExitStack) -> MarkerWait:
        """What waits for the marker of one more queue, until the stack ends. Raises ConnectFailed."""
        if len(self._waits) < MAX_WAITING:
            waits = self._new_wait(keys, keys.client_name(f":w:{name}"))
            self._waits.append(waits)
        else:
            waits = min(self._waits, key=lambda waits: waits.users)
        waits.users += 1
        stack.push_async_callback(self._leave_wait, waits)
        await waits.open()
        return waits

    def watch(self, suspects: Suspects, stack: AsyncExitStack) -> None:
        """Ask this worker too for what blocked the event loop, until the stack ends."""
        self._suspects.append(suspects)
        stack.callback(self._suspects.remove, suspects)

    async def _open(self) -> Connection | RedisPyLink:
        return await self._connect(self._client_name, loading(*(script.name for script in _scripts())))

    async def _prepare(self, link: Connection | RedisPyLink) -> None:
        self._check = ServerCheck(
            link, name=self._name, allow=self._allow, require_durable=self._require_durable, commands=_commands()
        )
        await self._check.start()
        await guard(link, self._keys)
        self.renewer = Renewer(link.settings, self.monitor, name=self._client_name)
        self.monitor.start()
        self.renewer.start()

    def _new_wait(self, keys: Keys, client_name: str) -> MarkerWait:
        link = self._link.link
        assert link is not None
        return MarkerWait(lambda: self._connect(client_name, ()), link, keys.poke(secrets.token_hex(8)))

    async def _leave_wait(self, waits: MarkerWait) -> None:
        waits.users -= 1
        if not waits.users:
            self._waits.remove(waits)
            await waits.close()

    async def _leave(self) -> None:
        self._users -= 1
        if self._users:
            return
        if self._link.link is not None:
            await self.renewer.stop()
            self.monitor.stop()
            await self._check.stop()
        await self._link.close()

    def _all_suspects(self) -> Iterable[str]:
        return [name for suspects in self._suspects for name in suspects()]


@functools.cache
def _scripts() -> list[Script]:
    """The scripts that the worker's modules import, and those that a running job calls by its handle."""
    modules = [module for name, module in sys.modules.items() if name.startswith("engine.worker.")]
    imported = {getattr(value, "__module__", None) for module in modules for value in vars(module).values()}
    return [
        script
        for script in all_scripts()
        if f"engine.scripts.{script.name}" in imported or script.name in ("progress", "log", "update_data")
    ]


@functools.cache
def _commands() -> list[str]:
    """What the worker's scripts call inside, and what it calls itself."""
    called = frozenset[str]().union(*(script.commands for script in _scripts()))
    return sorted(called | {"EVALSHA", "EVAL", "BZPOPMIN", "HGET", "HMGET", "ZRANGE", "LLEN"})
