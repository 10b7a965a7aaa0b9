"""The engine's worker with a handler that does nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.ours.orders import Order, now_us, orders, run, say
from engine import Job, Worker


class Handler:
    """Counts the jobs, and notes for those that say when they were sent how long they took to get here."""

    def __init__(self) -> None:
        self.wanted = -1
        self.handled = 0
        self.delays: list[int] = []

    async def handle(self, job: Job[Any]) -> None:
        sent = job.data.get("sent")
        if sent is not None:
            self.delays.append(now_us() - sent)
        self.handled += 1
        if self.handled == self.wanted:
            say(handled=self.handled)


class Running:
    """A worker that is ready, and runs once it is told to."""

    def __init__(self, url: str, order: Order) -> None:
        self.handler = Handler()
        self._worker = Worker(
            order["queue"],
            self.handler.handle,
            redis=url,
            concurrency=order["concurrency"],
            remove_on_complete=order["keep"],
        )
        self._run: asyncio.Task[None] | None = None

    def begin(self, jobs: int) -> None:
        self.handler.wanted = jobs
        self._run = asyncio.create_task(self._worker.run())

    async def end(self) -> None:
        await self._worker.close()
        if self._run is not None:
            await self._run


async def main(url: str) -> None:
    running: Running | None = None
    async for order in orders():
        match order["do"], running:
            case "ready", _:
                running = Running(url, order)
                say(ready=True)
            case "begin", Running():
                running.begin(order["jobs"])
            case "end", Running():
                await running.end()
                say(ended={"handled": running.handler.handled, "delays": running.handler.delays})


if __name__ == "__main__":
    run(main)
