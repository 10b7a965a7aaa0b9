"""What the chaos does to daemons, lines and the server: one fault after the other, dealt from a shuffled deck.

Most faults last a while and are over before the next. The two that outlive a lock, a daemon that sleeps and a line that
is a black hole, go on through what comes next, one of them at a time (its card is skipped while another goes on): so
there is always a daemon that could work.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from engine.connection import Argument, Connection, RedisSettings
from engine.connection.embedded import EmbeddedServer
from tests.faults.chaos.plan import Plan
from tests.faults.chaos.unit import Unit
from tests.support.ledger import append
from tests.support.proxy import Proxy
from tests.support.running import until

PATIENCE = 120.0
"""Seconds that a daemon may take to start a job, on a machine that does other things too."""
KILLS = 3
"""Daemons killed in a deck; every other fault comes once."""
FEW_CLIENTS = 4

Fault = Callable[[], Awaitable[None]]


@asynccontextmanager
async def open_link(server: EmbeddedServer) -> AsyncIterator[Connection]:
    """A connection past all proxies."""
    link = Connection(RedisSettings.parse(server.unix_url))
    await link.connect()
    try:
        yield link
    finally:
        await link.close()


class Nemesis:
    """Deals faults. `lines`: the proxies on which a black hole may open. Rows of the ledger: TIME FAULT, as each begins."""

    def __init__(
        self,
        plan: Plan,
        server: EmbeddedServer,
        units: Sequence[Unit],
        lines: Sequence[Proxy],
        ledger: Path,
        chance: random.Random,
    ) -> None:
        self._plan, self._server, self._units, self._lines = plan, server, units, lines
        self._ledger, self._chance = ledger, chance
        self._lasting: asyncio.Task[None] | None = None
        self._asleep: Unit | None = None
        self.dealt: Counter[str] = Counter()

    async def run(self) -> None:
        """Deal for as long as the plan says, and each fault at least once; when this returns all are over."""
        try:
            await self._deal()
            await self._outlast()
        finally:
            if self._lasting is not None:
                self._lasting.cancel()

    async def _deal(self) -> None:
        end = time.monotonic() + self._plan.seconds
        deck = self._deck()
        kinds = set(deck)
        while time.monotonic() < end or len(self.dealt) < len(kinds):
            fault = deck.pop()
            deck = deck or self._deck()
            if fault not in (self.freeze, self.open_black_hole) or self._lasting is None or self._lasting.done():
                append(self._ledger, time.monotonic(), fault.__name__)
                await fault()
                self.dealt[fault.__name__] += 1
                await asyncio.sleep(self._chance.uniform(0, self._plan.brief))

    def _deck(self) -> list[Fault]:
        to_daemons = [*[self.kill_daemon] * KILLS, self.freeze]
        to_lines = [self.open_black_hole, self.kill_clients, self.fill_clients]
        deck: list[Fault] = [*to_daemons, *to_lines]
        deck += [self.kill_server, self.flush_scripts, self.sleep, self.fill_memory]
        self._chance.shuffle(deck)
        return deck

    # --- daemons ------------------------------------------------------------------------------------------------------

    async def kill_daemon(self) -> None:
        """SIGKILL, with jobs in hand."""
        (await self._busy()).kill()

    async def freeze(self) -> None:
        """SIGSTOP for longer than a lock, then SIGCONT: it wakes with jobs in hand that are others' by then."""
        self._asleep = await self._busy()
        self._asleep.send(signal.SIGSTOP)
        self._lasting = asyncio.create_task(self._wake(self._asleep, self._plan.lock * self._chance.uniform(1.2, 2)))

    async def _wake(self, unit: Unit, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
        finally:
            unit.send(signal.SIGCONT)
            self._asleep = None

    async def _busy(self) -> Unit:
        """A daemon that is awake, once it has started a job, and a while after."""
        unit = self._chance.choice([unit for unit in self._units if unit is not self._asleep])
        await until(lambda: unit.has_worked, f"daemon {unit.name} has started a job", timeout=PATIENCE)
        await asyncio.sleep(self._chance.uniform(0, self._plan.brief))
        return unit

    # --- lines --------------------------------------------------------------------------------------------------------

    async def open_black_hole(self) -> None:
        """A line passes nothing on in one direction or both, for up to longer than a lock, and may then be reset."""
        line = self._chance.choice(self._lines)
        line.hold_requests, line.hold_replies = self._chance.choice([(True, False), (False, True), (True, True)])
        is_reset = self._chance.random() < 0.5
        seconds = self._plan.lock * self._chance.uniform(0.3, 1.5)
        self._lasting = asyncio.create_task(_close_black_hole(line, seconds, is_reset))

    async def _outlast(self) -> None:
        """Wait until the fault that lasts is over."""
        if self._lasting is not None:
            await self._lasting

    async def kill_clients(self) -> None:
        """CLIENT KILL, again and again."""
        await self._repeat(0.1, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    # --- the server ---------------------------------------------------------------------------------------------------

    async def kill_server(self) -> None:
        """It comes back with what its append-only file holds."""
        await asyncio.to_thread(self._server.kill)
        await asyncio.sleep(self._brief())
        await asyncio.to_thread(self._server.start)

    async def flush_scripts(self) -> None:
        await self._repeat(0.05, "SCRIPT", "FLUSH")

    async def sleep(self) -> None:
        """The server answers nobody for a while."""
        async with open_link(self._server) as link:
            await link.call("DEBUG", "SLEEP", f"{self._brief():.3f}")

    async def fill_memory(self) -> None:
        """The server refuses what would take memory."""
        async with self._set("maxmemory", 1, 0):
            await asyncio.sleep(self._brief())

    async def fill_clients(self) -> None:
        """All lines are cut, and only a few clients may come back."""
        async with self._set("maxclients", self._chance.randint(1, FEW_CLIENTS), 10_000) as link:
            await link.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await asyncio.sleep(self._brief())

    @asynccontextmanager
    async def _set(self, setting: str, value: int, usual: int) -> AsyncIterator[Connection]:
        """A setting of the server that holds for the length of a block."""
        async with open_link(self._server) as link:
            await link.call("CONFIG", "SET", setting, value)
            try:
                yield link
            finally:
                await link.call("CONFIG", "SET", setting, usual)

    async def _repeat(self, every: float, *command: Argument) -> None:
        async with open_link(self._server) as link:
            end = time.monotonic() + self._brief()
            while time.monotonic() < end:
                await link.call(*command)
                await asyncio.sleep(every)

    def _brief(self) -> float:
        return self._plan.brief * self._chance.uniform(0.3, 1)


async def _close_black_hole(line: Proxy, seconds: float, is_reset: bool) -> None:
    try:
        await asyncio.sleep(seconds)
        if is_reset:
            await line.reset()
    finally:
        line.hold_requests = line.hold_replies = False
