"""What rivals' programs with an event loop have in common: the ways of adding, the pace, a worker begun and ended. talk.py has
the words, a rival's program brings its own calls. Needs nothing but the standard library, as talk.py does."""

from __future__ import annotations

import asyncio
import logging
import os
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Protocol

from talk import Order, Tally, data, now_us, orders_async, say

Data = dict[str, Any]


class Queue(Protocol):
    """A queue of the rival's, open for adding. `delay` in ms; `attempts`, tries in all."""

    async def add(self, given: Data, *, delay: int = 0, attempts: int = 1) -> object: ...

    async def add_many(self, lot: Sequence[Data], *, delay: int = 0, attempts: int = 1) -> object:
        """The rival's bulk call; not asked for where its side cannot."""
        ...

    async def waiting(self) -> int:
        """Jobs that no worker has taken yet, the delayed ones left out."""
        ...


Work = Callable[[str, Order, Tally, asyncio.Event], Coroutine[Any, Any, None]]
"""Works a queue off as the order says, until the event is set; what is in hand then still ends."""


async def produce(open_queue: Callable[[str], AbstractAsyncContextManager[Queue]], *libraries: str) -> None:
    """A queue stays open until another is asked for."""
    async with AsyncExitStack() as opened:
        name = None
        async for order in orders_async(*libraries):
            if order["queue"] != name:
                await opened.aclose()
                name = order["queue"]
                queue = await opened.enter_async_context(open_queue(name))
            match order["do"]:
                case "add":
                    began = time.monotonic()
                    await _WAYS[order["way"]](queue, order)
                    say(seconds=time.monotonic() - began)
                case "pace":
                    say(calls=await _pace(queue, order))
                case "waiting":
                    say(waiting=await queue.waiting())


async def _one(queue: Queue, order: Order) -> None:
    options = order.get("options", {})
    for n in range(order["jobs"]):
        await queue.add(data(n, order), **options)


async def _at_once(queue: Queue, order: Order) -> None:
    options = order.get("options", {})
    for lot in _lots(order["jobs"], 100):
        await asyncio.gather(*[queue.add(data(n, order), **options) for n in lot])


async def _bulk(queue: Queue, order: Order) -> None:
    options = order.get("options", {})
    for lot in _lots(order["jobs"], 1000):
        await queue.add_many([data(n, order) for n in lot], **options)


def _lots(jobs: int, size: int) -> list[range]:
    return [range(first, min(first + size, jobs)) for first in range(0, jobs, size)]


async def _pace(queue: Queue, order: Order) -> list[int]:
    room = asyncio.Semaphore(100)

    async def call(n: int) -> int:
        try:
            sent: int = now_us()
            await queue.add({**data(n, order), "sent": sent})
            answered: int = now_us()
            return answered - sent
        finally:
            room.release()

    calls = []
    began = time.monotonic()
    for n in range(order["jobs"]):
        await asyncio.sleep(began + n / order["rate"] - time.monotonic())
        await room.acquire()
        calls.append(asyncio.create_task(call(n)))
    return await asyncio.gather(*calls)


_WAYS: dict[str, Callable[[Queue, Order], Awaitable[None]]] = {"one": _one, "at once": _at_once, "bulk": _bulk}


async def work(work_off: Work, *libraries: str) -> None:
    """One call of `work_off` for each queue of an order, side by side."""
    # A job that fails as ordered would fill the harness's stderr.
    logging.disable(logging.ERROR)
    ready: Order = {}
    tally = Tally()
    stop = asyncio.Event()
    running: list[asyncio.Task[None]] = []
    async for order in orders_async(*libraries):
        match order["do"]:
            case "ready":
                ready, tally, stop = order, Tally(), asyncio.Event()
                say(ready=True)
            case "begin":
                tally.wanted = order["jobs"]
                running = [start(work_off(queue, ready, tally, stop)) for queue in ready["queues"]]
            case "end":
                stop.set()
                await asyncio.gather(*running)
                tally.ended()


_started: set[asyncio.Task[None]] = set()
"""The loop itself holds a task so loosely that it could vanish."""


def start(running: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """A task that takes the program with it when it fails: the harness would wait for an answer in vain."""
    task = asyncio.create_task(running)
    _started.add(task)
    task.add_done_callback(_end_with)
    return task


def _end_with(task: asyncio.Task[None]) -> None:
    _started.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        traceback.print_exception(error)
        os._exit(1)


async def handle(tally: Tally, given: Data, tried: int = 0) -> None:
    """What a job's data orders."""
    tally.begun(given)
    if "sleep" in given:
        await asyncio.sleep(given["sleep"] / 1e6)
    tally.done(given, tried)
