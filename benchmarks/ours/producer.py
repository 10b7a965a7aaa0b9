"""The engine's producer: `Queue.add` and `Queue.add_many` as a user calls them."""

from __future__ import annotations

import asyncio
import time

from benchmarks.ours.orders import data, now_us, orders, run, say
from engine import NewJob, Queue


async def main(url: str) -> None:
    async for order in orders():
        async with Queue(order["queue"], redis=url) as queue:
            match order["do"]:
                case "add":
                    began = time.monotonic()
                    await _WAYS[order["way"]](queue, order["jobs"])
                    say(seconds=time.monotonic() - began)
                case "pace":
                    say(calls=await _pace(queue, order["jobs"], order["rate"]))


async def _one(queue: Queue, jobs: int) -> None:
    for n in range(jobs):
        await queue.add("job", data(n))


async def _at_once(queue: Queue, jobs: int) -> None:
    for first in range(0, jobs, 100):
        await asyncio.gather(*[queue.add("job", data(n)) for n in range(first, min(first + 100, jobs))])


async def _bulk(queue: Queue, jobs: int) -> None:
    for first in range(0, jobs, 1000):
        await queue.add_many([NewJob("job", data(n)) for n in range(first, min(first + 1000, jobs))])


async def _pace(queue: Queue, jobs: int, rate: float) -> list[int]:
    calls = []
    began = time.monotonic()
    for n in range(jobs):
        await asyncio.sleep(began + n / rate - time.monotonic())
        sent = now_us()
        await queue.add("job", {**data(n), "sent": sent})
        calls.append(now_us() - sent)
    return calls


_WAYS = {"one": _one, "at once": _at_once, "bulk": _bulk}

if __name__ == "__main__":
    run(main)
