"""One run of the chaos: load and faults together, then the queue is worked off, then the evidence is read."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from engine import Queue
from engine.connection import Connection
from engine.connection.embedded import EmbeddedServer
from engine.model.keys import Keys
from tests.faults.chaos.load import Producer
from tests.faults.chaos.nemesis import Nemesis, open_link
from tests.faults.chaos.plan import QUEUE, Plan, address
from tests.faults.chaos.unit import Unit
from tests.faults.chaos.verdict import Answer, Evidence, Exited, Killed, Noted
from tests.support.invariants import violations
from tests.support.keyspace import census, events
from tests.support.proxy import Proxy

MAX_EVENTS = 10**8
"""Nothing of the stream is cut off: it is compared to the ledgers."""
STILL = 20.0
"""Seconds beside three locks without any movement after which none is expected."""


def chaos_server(plan: Plan) -> EmbeddedServer:
    """The server that a run needs: one that it may kill."""
    options = ["--appendfsync", plan.fsync, "--enable-debug-command", "local"]
    return EmbeddedServer(extra_args=options, tcp=True)


class Chaos:
    """One run. Its ledgers and the logs of the daemons are in `folder`."""

    def __init__(self, plan: Plan, server: EmbeddedServer, folder: Path) -> None:
        self.plan = plan
        self.began = self.over = 0.0
        """When the load began and ended, in monotonic seconds."""
        self.dealt: Counter[str] = Counter()
        self._server, self._folder = server, folder
        self._chance = random.Random(plan.seed)

    async def run(self) -> Evidence:
        async with AsyncExitStack() as stack:
            line = await self._line(stack)
            units = [await self._unit(stack, f"d{number}") for number in range(1, self.plan.daemons + 1)]
            lines = [line, *(unit.proxy for unit in units)]
            nemesis = Nemesis(self.plan, self._server, units, lines, self._folder / "faults", self._new_chance())
            async with self._queue(address(line.port)) as far, self._queue(address(self._server.port)) as near:
                for unit in units:
                    unit.start()
                await self._load([self._producer("far", far), self._producer("near", near)], nemesis)
            self.dealt = nemesis.dealt
            async with open_link(self._server) as link:
                await self._work_off(link)
                for unit in units:
                    await unit.stop()
                return await self.evidence(link)

    async def _line(self, stack: AsyncExitStack) -> Proxy:
        return await stack.enter_async_context(Proxy("127.0.0.1", self._server.port))

    async def _unit(self, stack: AsyncExitStack, name: str) -> Unit:
        unit = Unit(name, self.plan, await self._line(stack), self._folder)
        stack.push_async_callback(unit.close)
        return unit

    def _queue(self, url: str) -> Queue:
        return Queue(QUEUE, redis=url, max_events=MAX_EVENTS)

    def _producer(self, name: str, queue: Queue) -> Producer:
        """One of the two. The line of the near one has no black holes: there is always something to do."""
        return Producer(name, queue, self.plan.rate / 2, self._folder, self._new_chance())

    async def _load(self, producers: Sequence[Producer], nemesis: Nemesis) -> None:
        over, self.began = asyncio.Event(), time.monotonic()
        async with asyncio.TaskGroup() as group:
            for producer in producers:
                group.create_task(producer.run(over))
            await nemesis.run()
            over.set()
            self.over = time.monotonic()

    def _new_chance(self) -> random.Random:
        return random.Random(self._chance.randrange(2**32))

    # --- the end ------------------------------------------------------------------------------------------------------

    async def _work_off(self, link: Connection) -> None:
        """Wait until nothing is left, or nothing has moved for longer than any recovery takes: the verdict tells then."""
        before, since = [-1], time.monotonic()
        while any(before[:-1] or before) and time.monotonic() - since < STILL + 3 * self.plan.lock:
            if (sizes := await _sizes(link)) != before:
                before, since = sizes, time.monotonic()
            await asyncio.sleep(0.1)

    async def evidence(self, link: Connection) -> Evidence:
        """What is written down at this moment."""
        keys = Keys(QUEUE)
        ends = list(self._rows("ends-*"))
        return Evidence(
            answers=[Answer(*row) for row in self._rows("added-*")],
            noted=[_noted(row) for row in self._rows("worked-*") if len(row) == 7],
            killed=[Killed(int(pid), float(at)) for word, pid, at in ends if word == "killed"],
            exited=[Exited(int(pid), int(code)) for word, pid, code in ends if word == "exited"],
            events=await events(link, keys),
            places=_places(await census(link, keys)),
            over=self.over,
            unsound=await violations(link, keys),
        )

    def _rows(self, ledgers: str) -> Iterator[list[str]]:
        for path in sorted(self._folder.glob(ledgers)):
            yield from (line.split(" ") for line in path.read_text().splitlines())


async def _sizes(link: Connection) -> list[int]:
    """How many jobs are in each structure, those that have completed at last."""
    keys = Keys(QUEUE)
    lists = [["LLEN", key] for key in (keys.wait, keys.active)]
    sets = [["ZCARD", key] for key in (keys.delayed, keys.prioritized, keys.completed)]
    return [int(size) for size in await link.call_many([*lists, *sets])]


def _places(found: Mapping[str, Sequence[str]]) -> dict[str, str]:
    places: dict[str, str] = {}
    for place, ids in found.items():
        for id in ids:
            places[id] = f"{places[id]} and {place}" if id in places else place
    return places


def _noted(row: list[str]) -> Noted:
    word, id, claim, pid, attempt, at, mark = row
    return Noted(word, id, int(claim), int(pid), int(attempt), float(at), mark)
