"""The limit of a drain: `turn` in a loop, each call handing in what the one before it claimed."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from benchmarks.ours.orders import Order, orders, run, say
from engine.connection import Link, open_link
from engine.model.keys import Keys
from engine.model.options import Keep
from engine.model.records import Claimed
from engine.scripting.pace import PER_CALL
from engine.scripts.turn import turn

_LOCK_MS = 15_000


class Loop:
    def __init__(self, link: Link, order: Order) -> None:
        self._link = link
        (queue,) = order["queues"]
        self._keys = Keys(queue)
        self._width: int = min(order["concurrency"], PER_CALL)
        self._keep = Keep(count=order["keep"])
        self._lanes = 2 if self._width > 1 else 1
        self.handled = 0

    async def run(self) -> None:
        """Until nothing waits and all is handed in."""
        await asyncio.gather(*[self._lane() for _ in range(self._lanes)])

    async def _lane(self) -> None:
        jobs: list[Claimed] = []
        while True:
            turned = await turn(
                self._link,
                self._keys,
                [(job, b"null", self._keep) for job in jobs],
                token=uuid4().hex,
                lock_ms=_LOCK_MS,
                worker="bare",
                count=self._width,
            )
            self.handled += len(jobs)
            jobs = turned.jobs
            if not jobs:
                return


async def main(url: str) -> None:
    link = await open_link(url)
    loop: Loop | None = None
    async for order in orders():
        match order["do"], loop:
            case "ready", _:
                loop = Loop(link, order)
                say(ready=True)
            case "begin", Loop():
                await loop.run()
                say(handled=loop.handled)
            case "end", Loop():
                say(ended={"handled": loop.handled, "delays": []})
    await link.close()


if __name__ == "__main__":
    run(main)
