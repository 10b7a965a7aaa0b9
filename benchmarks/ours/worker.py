"""The engine's worker with a handler that does what the data of a job says: mostly nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from benchmarks.ours.orders import Order, now_us, orders, run, say
from engine import Job, Worker, WorkerGroup


class Handler:
    """Counts the jobs, and notes for those that say when they were sent or due how much later they began."""

    def __init__(self) -> None:
        self.wanted = -1
        self.handled = 0
        self.delays: list[int] = []

    async def handle(self, job: Job[Any]) -> None:
        data = job.data
        for mark in ("sent", "due"):
            if mark in data:
                self.delays.append(now_us() - data[mark])
        if "burn" in data:
            ends = time.thread_time_ns() + data["burn"] * 1000
            while time.thread_time_ns() < ends:
                pass
        if "sleep" in data:
            await asyncio.sleep(data["sleep"] / 1e6)
        self.handled += 1
        if self.handled == self.wanted:
            say(handled=self.handled)
        if job.attempts_made < data.get("fail", 0):
            raise RuntimeError("fails as ordered")


class Running:
    """Workers that are ready, one a queue, and run once they are told to."""

    def __init__(self, url: str, order: Order) -> None:
        self.handler = Handler()
        self._workers = [Worker(queue, self.handler.handle, redis=url, **_options(order)) for queue in order["queues"]]
        self._group = WorkerGroup(*self._workers)

    def begin(self, jobs: int) -> None:
        self.handler.wanted = jobs
        self._run = asyncio.create_task(self._group.run(handle_signals=False))

    async def end(self) -> None:
        await self._group.close()
        await self._run

    def ended(self) -> dict[str, Any]:
        turns = sum(worker.counters.turns for worker in self._workers)
        return {"handled": self.handler.handled, "delays": self.handler.delays, "turns": turns}


def _options(order: Order) -> dict[str, Any]:
    options = {"concurrency": order["concurrency"], "remove_on_complete": order["keep"]}
    if "lock" in order:
        options["lock_duration"] = order["lock"]
    if "sweep" in order:
        options["stalled_interval"] = order["sweep"]
    return options


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
                say(ended=running.ended())


if __name__ == "__main__":
    # As for rivals: jobs that fail or stall as ordered would be thousands of lines. What else goes wrong is still said.
    logging.getLogger("engine.jobs").setLevel(logging.CRITICAL)
    logging.getLogger("engine.worker").setLevel(logging.ERROR)
    run(main)
