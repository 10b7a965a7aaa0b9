"""Queue, FlowProducer, QueueEvents and JobQueueService open one connection for all their calls, and leave none behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from engine import FlowJob, FlowProducer, JobQueueService, Queue, QueueEvents, RedisSettings, Settings
from engine.connection import Link
from engine.errors import QueueClosed, ServerError
from tests.support.running import until

MAKERS: dict[str, Callable[[str], Any]] = {
    "queue": lambda url: Queue("q", redis=url, wait=60_000),
    "flows": lambda url: FlowProducer(redis=url, wait=60_000),
    "events": lambda url: QueueEvents("q", redis=url),
    "service": lambda url: JobQueueService(Settings(redis=RedisSettings.parse(url), wait=60_000)),
}
makers = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


async def clients(link: Link) -> set[bytes]:
    """Each as `id=7`."""
    return {line.split()[0] for line in (await link.call("CLIENT", "LIST")).splitlines()}


async def no_client_beside(link: Link, before: set[bytes]) -> bool:
    return await clients(link) <= before


@makers
async def test_calls_at_once_open_one_connection(redis_url: str, link: Link, make: Callable[[str], Any]) -> None:
    before, made = await clients(link), make(redis_url)
    await asyncio.gather(*(made.open() for _ in range(5)))
    assert len(await clients(link) - before) == 1
    await made.close()


@makers
async def test_it_opens_again_after_close(redis_url: str, make: Callable[[str], Any]) -> None:
    made = make(redis_url)
    for _ in range(2):
        await made.open()
        await made.close()
    await made.close()


@makers
async def test_close_ends_an_attempt_to_connect(make: Callable[[str], Any]) -> None:
    accepted, gone = asyncio.Event(), asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()
        while await reader.read(1024):
            pass
        gone.set()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    made = make(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    opening = asyncio.create_task(made.open())
    async with asyncio.timeout(10):
        await accepted.wait()
        await made.close()
        with pytest.raises(QueueClosed):
            await opening
        await gone.wait()
    server.close()
    await server.wait_closed()


async def test_a_cancelled_call_leaves_the_others_their_attempt(redis_url: str) -> None:
    async with asyncio.timeout(10):
        queue = Queue("q", redis=redis_url)
        calls = [asyncio.create_task(queue.counts()) for _ in range(2)]
        await asyncio.sleep(0)
        calls[0].cancel()
        assert (await calls[1]).waiting == 0
        await queue.close()
    assert calls[0].cancelled()


async def test_a_service_that_could_not_open_can_try_again(redis_url: str, link: Link) -> None:
    before = await clients(link)
    service = JobQueueService(Settings(redis=RedisSettings.parse(redis_url)))
    await link.call("SET", "bull:sms-queue:meta", "not a hash")
    with pytest.raises(ServerError):
        await service.open()
    await until(lambda: no_client_beside(link, before), "the connection is closed")
    await link.call("DEL", "bull:sms-queue:meta")
    await service.open()
    assert (await service.get_queue_stats("sms")).waiting == 0
    await service.close()


async def test_a_lent_connection_stays_open(redis_url: str, opened: Callable[..., Any]) -> None:
    lent = await opened(redis_url)
    async with Queue("q", link=lent) as queue, FlowProducer(link=lent) as flows:
        await queue.add("x")
        await flows.add(FlowJob("y", "q"))
    assert await lent.call("PING") == b"PONG"
    with pytest.raises(QueueClosed):
        await queue.add("x")
