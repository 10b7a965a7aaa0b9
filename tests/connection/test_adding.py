"""Concurrent adds share calls; neither high latency nor a server without the scripts slows them down."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial

import pytest

from engine import Queue
from engine.connection import Connection, RedisPyLink, open_link
from engine.connection.embedded import EmbeddedServer
from engine.errors import OutcomeUnknown
from tests.support.proxy import Proxy
from tests.support.running import until


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(tcp=True) as server:
        yield server


async def test_concurrent_adds_share_calls_and_keep_their_order(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue:
        before = await calls(queue)
        jobs = await asyncio.gather(*(queue.add("job", n) for n in range(1_000)))
        assert [job.id for job in jobs] == [str(n) for n in range(1, 1_001)]
        assert await calls(queue) - before < 60


async def test_a_hundred_at_once_take_three_calls(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue:
        before = await calls(queue)
        await asyncio.gather(*(queue.add("job", n) for n in range(100)))
        assert await calls(queue) - before == 3


async def test_a_lone_add_leaves_at_once(redis_url: str) -> None:
    link = await open_link(redis_url, implementation="own")
    assert isinstance(link, Connection)
    async with Queue("q", link=link) as queue:
        await queue.add("job")
        adding = queue.add("job")
        before = link.writes
        waits_for = adding.send(None)  # up to its first wait, without a turn of the event loop
        assert link.writes == before + 1
        await until(lambda: waits_for.done(), "the reply has come")
        with pytest.raises(StopIteration):
            adding.send(None)
    await link.close()


async def test_after_several_at_once_jobs_share_a_call(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue:
        await asyncio.gather(*(queue.add("job", n) for n in range(5)))
        before = await calls(queue)
        await asyncio.gather(*(queue.add("job", n) for n in range(5)))
        assert await calls(queue) - before == 1


async def test_adds_with_high_latency_do_not_wait_for_each_other(server: EmbeddedServer) -> None:
    async with (
        Proxy("127.0.0.1", server.port or 0) as proxy,
        Queue("q", redis=f"redis://127.0.0.1:{proxy.port}") as queue,
        Queue("q", redis=server.unix_url) as near,
    ):
        proxy.hold_replies = True
        adding = [asyncio.create_task(queue.add("job", 0))]
        for n in range(1, 10):
            await until(partial(waiting, near, n), "the job before was added")
            adding.append(asyncio.create_task(queue.add("job", n)))
        await until(partial(waiting, near, 10), "the last was added")
        proxy.hold_replies = False
        assert len({job.id for job in await asyncio.gather(*adding)}) == 10


async def test_a_server_that_forgot_the_script_is_sent_it_again(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue:
        await queue.link.call("SCRIPT", "FLUSH")
        assert [job.id for job in await asyncio.gather(*(queue.add("job") for _ in range(50)))] == [
            str(n) for n in range(1, 51)
        ]


async def test_a_lost_reply_fails_every_add_of_the_call(server: EmbeddedServer) -> None:
    async with (
        Proxy("127.0.0.1", server.port or 0) as proxy,
        Queue("q", redis=f"redis://127.0.0.1:{proxy.port}") as queue,
    ):
        proxy.drop_replies = True
        adding = [asyncio.create_task(queue.add("job")) for _ in range(5)]
        await until(lambda: b"EVALSHA" in bytes(proxy.requests), "the call was sent")
        await proxy.reset()
        proxy.drop_replies = False
        for error in await asyncio.gather(*adding, return_exceptions=True):
            assert isinstance(error, OutcomeUnknown)
        # The server had the whole call or none of it.
        assert (await queue.add("job")).id in ("1", "6")


async def test_the_queue_can_be_left_while_jobs_are_being_added(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue:
        adding = [asyncio.create_task(queue.add("job")) for _ in range(500)]
        await asyncio.sleep(0)
    assert len(await asyncio.gather(*adding)) == 500


async def test_two_may_close_the_queue_at_once(redis_url: str) -> None:
    queue = await Queue("q", redis=redis_url).open()
    adding = [asyncio.create_task(queue.add("job")) for _ in range(500)]
    await asyncio.sleep(0)
    await asyncio.gather(queue.close(), queue.close())
    assert len(await asyncio.gather(*adding)) == 500


async def test_adding_works_over_redis_py_too(redis_url: str) -> None:
    link = await open_link(redis_url, implementation="redis-py")
    assert isinstance(link, RedisPyLink)
    async with Queue("q", link=link) as queue:
        await link.call("SCRIPT", "FLUSH")
        assert len(await asyncio.gather(*(queue.add("job") for _ in range(100)))) == 100
    await link.close()


async def calls(queue: Queue) -> int:
    """Scripts that the server has run."""
    stats = (await queue.link.call("INFO", "commandstats")).decode()
    return sum(
        int(line.partition("calls=")[2].partition(",")[0])
        for line in stats.splitlines()
        if line.startswith(("cmdstat_evalsha", "cmdstat_eval:"))
    )


async def waiting(queue: Queue, count: int) -> bool:
    return (await queue.counts()).waiting == count
