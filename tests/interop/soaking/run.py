"""One run of a soak: producers and blows keep step, then the queue is worked off, then the evidence is gathered."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

from msgspec import Struct

from engine.connection import Connection, RedisSettings
from engine.connection.embedded import EmbeddedServer
from engine.errors import CorralError
from engine.model.keys import Keys
from tests.interop.side import NodeError
from tests.interop.soaking.hands import CONCURRENCY, Hand, worked
from tests.interop.soaking.nemesis import Nemesis
from tests.interop.soaking.pace import Pace
from tests.interop.soaking.sides import QUEUE, SIDES, Side, all_sides, heard_path, line_of_entry
from tests.interop.soaking.verdict import Added, Evidence, Verdict, judge
from tests.interop.soaking.wishes import Batch, wishes
from tests.support.keyspace import PAGE, census
from tests.support.running import until

PATIENCE = 120.0
"""Seconds that one step may take, on a machine that does other things too."""
STILL = 20.0
"""Seconds without the end of a job after which none is expected: more than a lock and every worker's sleep."""
MOST_LEFT = 2_000
"""Jobs that are not done at a blow. Of over 7,000 that were set aside BullMQ 6 puts the newest in line first, and
workers claim some of them before it comes to the others."""


class Plan(Struct, frozen=True):
    """How a soak is done. ms: how long a job takes on average. restarts: how often the server is killed."""

    jobs: int
    blows: int
    seed: int
    ms: float = 25
    restarts: int = 0


class Soak:
    """One run on a server. What is written down stands in `folder`."""

    def __init__(self, plan: Plan, server: EmbeddedServer, folder: Path) -> None:
        self.plan, self.hands = plan, {side: Hand(side, server.url, folder) for side in SIDES}
        self.nemesis: Nemesis
        self._server, self._folder = server, folder
        self._chance = random.Random(plan.seed)
        self._adding = {side: asyncio.Lock() for side in SIDES}
        self._added: list[Added] = []
        self._pace = Pace(plan.jobs // len(SIDES), plan.blows + 1)

    @property
    def kinds(self) -> Counter[str]:
        return Counter(one.kind for one in self._added)

    async def run(self, tell: Callable[[str], None] = lambda line: None) -> Verdict:
        async with all_sides(self._server.url, self._folder) as sides, _link(self._server.url) as self._link:
            self.nemesis = Nemesis(sides, self.hands, self._adding, self._pace, self._link, self._new_chance())
            with _working(self.hands):
                async with asyncio.TaskGroup() as group:
                    for side in SIDES:
                        group.create_task(self._produce(side, sides[side], self._new_chance()))
                    group.create_task(self._strike(tell))
                return await self._conclude()

    # --- producers and blows ------------------------------------------------------------------------------------------

    async def _produce(self, side: str, to: Side, chance: random.Random) -> None:
        restarts = self.plan.restarts > 0
        jobs = self.plan.jobs // len(SIDES)
        with (self._folder / f"added-{side}").open("a", buffering=1) as ledger:
            for batch in wishes(side, jobs, chance, ms=self.plan.ms, own_ids=restarts, families=not restarts):
                await until(partial(self._may_add, side), "the blows keep up", timeout=PATIENCE)
                async with self._adding[side]:
                    ids = await self._add(to, batch)
                for id, wish in zip(ids, batch, strict=True):
                    ledger.write(f"{id} {wish.mark} {wish.kind}\n")
                    self._added.append(Added(id, wish.mark, wish.kind))
                self._pace.made[side] += len(batch)

    async def _add(self, to: Side, batch: Batch) -> list[str]:
        """Until it is acknowledged: where the server is killed jobs have ids of their own, so a second add is none."""
        while True:
            try:
                return await (to.add_family if batch[0].kind == "parent" else to.add)(batch)
            except (NodeError, CorralError):
                if not self.plan.restarts:
                    raise
                await asyncio.sleep(0.05)

    async def _strike(self, tell: Callable[[str], None]) -> None:
        restarts = {(number + 1) * self.plan.blows // (self.plan.restarts + 1) for number in range(self.plan.restarts)}
        self._pace.release()
        for number in range(self.plan.blows):
            await until(self._few_are_left, "the workers keep up", timeout=PATIENCE)
            if number in restarts:
                await self.nemesis.restart(self._server)
            await self.nemesis.deal()
            if number % 20 == 0:
                tell(f"{len(self._added)} jobs added, {number} blows dealt")
        self._pace.release()
        await self.nemesis.thaw(*SIDES)

    async def _may_add(self, side: str) -> bool:
        if self._pace.may_add(side):
            return True
        return self._pace.hungry and await self._left() < CONCURRENCY * len(self.hands)

    async def _few_are_left(self) -> bool:
        return await self._left() < MOST_LEFT

    async def _left(self) -> int:
        return len(self._added) - await self._ended()

    def _new_chance(self) -> random.Random:
        return random.Random(self._chance.randrange(2**32))

    # --- the end ------------------------------------------------------------------------------------------------------

    async def _conclude(self) -> Verdict:
        await self._work_off()
        for hand in self.hands.values():
            await hand.stop()
        return judge(await self._evidence())

    async def _work_off(self) -> None:
        """Wait until all is done, or nothing has been for a while: what is left then, the verdict tells."""
        ended, since = -1, time.monotonic()
        while ended < len(self._added) and time.monotonic() - since < STILL:
            if (now := await self._ended()) != ended:
                ended, since = now, time.monotonic()
            await asyncio.sleep(0.1)

    async def _ended(self) -> int:
        keys = Keys(QUEUE)
        return sum(await self._link.call_many([["ZCARD", keys.completed], ["ZCARD", keys.failed]]))

    async def _evidence(self) -> Evidence:
        keys = Keys(QUEUE)
        lines = await _stream(self._link, keys)
        paths = {side: heard_path(self._folder, side) for side in SIDES}
        for side, path in paths.items():
            await until(partial(_ends_with, path, lines[-1]), f"{side} has read to the end", timeout=PATIENCE)
        return Evidence(
            added=self._added,
            lines=lines,
            heard={side: path.read_text().splitlines() for side, path in paths.items()},
            worked=list(worked(self._folder)),
            places={id: place for place, ids in (await census(self._link, keys)).items() for id in ids},
            pausers=self.nemesis.pausers,
        )


@contextmanager
def _working(hands: Mapping[str, Hand]) -> Iterator[None]:
    try:
        for hand in hands.values():
            hand.start()
        yield
    finally:
        for hand in hands.values():
            hand.close()


@asynccontextmanager
async def _link(url: str) -> AsyncIterator[Connection]:
    link = Connection(RedisSettings.parse(url))
    await link.connect()
    try:
        yield link
    finally:
        await link.close()


async def _stream(link: Connection, keys: Keys) -> list[str]:
    lines: list[str] = []
    start = "-"
    while page := await link.call("XRANGE", keys.events, start, "+", "COUNT", PAGE):
        lines += [line_of_entry(place.decode(), fields) for place, fields in page]
        start = "(" + page[-1][0].decode()
    return lines


def _ends_with(path: Path, line: str) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - len(line.encode()) - 1))
        return file.read().decode(errors="replace") == line + "\n"
