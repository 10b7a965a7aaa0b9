"""The engine's producer: `Queue.add`, `Queue.add_many` and `SyncQueue.add` as a user calls them."""

from __future__ import annotations

import asyncio
import time

from benchmarks.ours.orders import Order, data, now_us, orders, run, say
from engine import NewJob, Queue, SyncQueue


async def main(url: str) -> None:
    async for order in orders():
        if order.get("way") == "sync":
            say(seconds=await asyncio.to_thread(_sync, url, order))
            continue
        async with Queue(order["queue"], redis=url) as queue:
            match order["do"]:
                case "add":
                    began = time.monotonic()
                    await _WAYS[order["way"]](queue, order)
                    say(seconds=time.monotonic() - began)
                case "pace":
                    say(calls=await _pace(queue, order))
                case "waiting":
                    say(waiting=(await queue.counts()).waiting)


async def _one(queue: Queue, order: Order) -> None:
    options = order.get("options", {})
    for n in range(order["jobs"]):
        await queue.add("job", data(n, order), **options)


async def _at_once(queue: Queue, order: Order) -> None:
    options = order.get("options", {})
    for lot in _lots(order["jobs"], 100):
        await asyncio.gather(*[queue.add("job", data(n, order), **options) for n in lot])


async def _bulk(queue: Queue, order: Order) -> None:
    options = order.get("options", {})
    for lot in _lots(order["jobs"], 1000):
        await queue.add_many([NewJob("job", data(n, order), **options) for n in lot])


def _sync(url: str, order: Order) -> float:
    """In a thread without a loop, as in a view of Flask or Django."""
    options = order.get("options", {})
    with SyncQueue(order["queue"], redis=url) as queue:
        began = time.monotonic()
        for n in range(order["jobs"]):
            queue.add("job", data(n, order), **options)
        return time.monotonic() - began


def _lots(jobs: int, size: int) -> list[range]:
    return [range(first, min(first + size, jobs)) for first in range(0, jobs, size)]


async def _pace(queue: Queue, order: Order) -> list[int]:
    room = asyncio.Semaphore(100)

    async def call(n: int) -> int:
        try:
            sent = now_us()
            await queue.add("job", {**data(n, order), "sent": sent})
            return now_us() - sent
        finally:
            room.release()

    calls = []
    began = time.monotonic()
    for n in range(order["jobs"]):
        await asyncio.sleep(began + n / order["rate"] - time.monotonic())
        await room.acquire()
        calls.append(asyncio.create_task(call(n)))
    return await asyncio.gather(*calls)


_WAYS = {"one": _one, "at once": _at_once, "bulk": _bulk}

if __name__ == "__main__":
    run(main)
