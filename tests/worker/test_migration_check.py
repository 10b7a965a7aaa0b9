"""`corral migrate check` on a live server: what it finds of a queue as a whole, and that it reads in pages and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec import structs

from engine import Job, NewJob, Queue, Worker
from engine.cli.migrate.check import check, check_on
from engine.cli.migrate.findings import QueueReport
from engine.connection import Argument, Link, RedisSettings, Waiter
from engine.connection.embedded import EmbeddedServer
from engine.errors import ServerError
from engine.model.keys import Keys
from tests.support.running import running
from tests.support.seeding import Held, seed

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])
damaged = pytest.mark.usefixtures("damaged")


async def looked(redis_url: str | RedisSettings, **options: Any) -> QueueReport:
    (queue,) = (await check(RedisSettings.parse(redis_url), "bull", ["q"], **options)).queues
    return queue


def found(queue: QueueReport) -> dict[str, tuple[int, list[str]]]:
    """But for the two notes that any job without options gives."""
    usual = ("attempts-open", "kept-for-ever")
    return {
        one.code: (one.count, [each.id for each in one.examples]) for one in queue.findings if one.code not in usual
    }


@damaged
async def test_each_trouble_of_a_queue_is_named(redis_url: str, link: Link, keys: Keys) -> None:
    await seed(
        link,
        keys,
        wait=["a", "twice", "twice", "meta"],
        delayed={"late": 5},
        active={"dead": Held(lock_ms=None), "held": Held(), "eternal": Held(lock_ms=None)},
        waiting_children={"orphaned": 5, "patient": 5},
        failed={"burnt": 5},
        meta={"version": "bullmq:6.7.0", "opts.maxLenEvents": 10_000},
    )
    for command in (
        ("DEL", keys.job("a")),
        ("HDEL", keys.meta, "name", "data", "opts", "timestamp", "delay", "priority"),
        ("SET", keys.lock("eternal"), "t1"),
        ("SADD", keys.helper("orphaned", "dependencies"), "bull:other:gone"),
        ("SADD", keys.helper("patient", "dependencies"), keys.job("twice")),
        ("SET", keys.limiter, 3, "PX", 60_000),
        ("HSET", keys.jobs + "metrics:completed", "count", 1),
        ("ZADD", keys.repeat, 1, "still"),
        ("HSET", keys.jobs + "repeat:still", "name", "n", "every", 5000, "ic", 2),
        ("ZADD", keys.jobs + "groups", 1, "g"),
        ("LPUSH", keys.pc, "x"),
    ):
        await link.call(*command)
    assert found(await looked(redis_url, examples=5)) == {
        "wrong-type": (1, ["pc"]),
        "groups": (1, ["groups"]),
        "worker-limiter": (1, ["limiter"]),
        "metrics": (1, ["metrics"]),
        "missing-hash": (1, ["a"]),
        "id-of-a-structure": (1, ["meta"]),
        "in-two-places": (1, ["twice"]),
        "active-without-lock": (1, ["dead"]),
        "lock-without-end": (1, ["eternal"]),
        "overdue": (1, ["late"]),
        "without-dead-letter": (1, ["burnt"]),
        "parent-forgotten": (1, ["orphaned"]),
        "schedule-stopped": (1, ["still"]),
    }


async def test_names_that_one_function_took_are_listed(queue: Queue, redis_url: str) -> None:
    await queue.add("mail")
    assert found(await looked(redis_url)) == {}
    await queue.add("letter")
    await queue.add("fax", delay=60_000)
    assert found(await looked(redis_url)) == {"many-names": (3, ["mail", "letter", "fax"])}


@damaged
async def test_paused_jobs_are_reported_with_their_danger(redis_url: str, link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["c"], paused=["a", "b"], meta={"version": "bullmq:5.63.0"})
    assert found(await looked(redis_url)) == {"paused-left-over": (2, [])}
    await link.call("HSET", keys.meta, "paused", 1)
    assert found(await looked(redis_url)) == {"queue-paused": (3, []), "pause-loses-jobs": (1, [])}
    await link.call("DEL", keys.wait)
    await link.call("DEL", keys.job("c"))
    queue = await looked(redis_url)
    assert found(queue) == {"queue-paused": (2, [])}
    assert queue.hints == ["opened last by bullmq:5.63.0", "the list `paused` is used: BullMQ 5"]


@damaged
async def test_queues_are_found_by_their_keys(redis_url: str, link: Link) -> None:
    for command in (
        ("HSET", "bull:q:meta", "opts.maxLenEvents", 10_000),
        ("SET", "bull:q:de:id", "17"),  # a deduplication of that id
        ("HSET", "bull:q:repeat:meta", "name", "n"),  # a schedule of that id
        ("HSET", "{mine}:q:meta", "version", "bullmq:6.7.0"),
        ("SET", "bull:older:id", 5),
        ("LPUSH", "shop:cart:meta", "x"),
        ("HSET", "user:7:meta", "colour", "red"),
    ):
        await link.call(*command)
    report = await check(RedisSettings.parse(redis_url), "bull")
    assert [(queue.queue, list(found(queue))) for queue in report.queues] == [
        ("older", ["old-bull"]),
        ("q", ["deduplication-dead"]),
    ]
    assert report.elsewhere == {"{mine}": 1}


async def test_an_unfit_server_is_reported_an_unreadable_one_fails(redis_url: str, link: Link) -> None:
    with EmbeddedServer(extra_args=["--maxmemory-policy", "allkeys-lru"]) as server:
        report = await check(RedisSettings.parse(server.url), "bull")
        assert [(finding.code, finding.severity) for finding in report.server] == [("server-unfit", "differs")]
        assert "CONFIG SET maxmemory-policy noeviction" in str(report.server[0].examples[0])
    async with Queue("q", redis=redis_url):
        pass
    await link.call("ACL", "SETUSER", "other", "on", ">secret", "~shop:*", "+@read", "+@connection")
    try:
        with pytest.raises(ServerError, match="NOPERM"):
            await looked(structs.replace(RedisSettings.parse(redis_url), username="other", password="secret"))
    finally:
        await link.call("ACL", "DELUSER", "other")


class Recording:
    """A link that notes what is asked, and how much of it at once."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.asked: list[tuple[str, ...]] = []
        self.largest = 0

    async def call(self, *command: Argument) -> Any:
        self._note([command])
        return await self._link.call(*command)

    async def call_many(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        self._note(commands)
        return await self._link.call_many(commands)

    def _note(self, commands: Sequence[Sequence[Argument]]) -> None:
        self.largest = max(self.largest, len(commands))
        self.asked += [tuple(str(part) for part in command) for command in commands]

    def post(self, waiter: Waiter, *command: Argument) -> None:
        raise AssertionError("not asked for")

    async def close(self) -> None: ...


READS = {
    "SCAN", "TYPE", "LLEN", "ZCARD", "XLEN", "HMGET", "HGET", "HSTRLEN", "HEXISTS", "HGETALL", "GET", "EXISTS", "PTTL", "LRANGE",
    "ZRANGE", "ZCOUNT", "ZSCORE", "LPOS", "SSCAN", "TIME", "INFO", "CONFIG", "CLIENT",
    "HELLO", "PING",
}  # fmt: skip


async def test_a_large_queue_is_read_in_pages_or_sampled(redis_url: str, link: Link) -> None:
    async with Queue("q", redis=redis_url) as queue:
        await queue.add_many([NewJob("n", {"number": n}, attempts=2, remove_on_complete=1) for n in range(2_300)])
    whole = Recording(link)
    (report,) = (await check_on(whole, "bull")).queues
    assert (report.checked, report.findings) == ({"wait": 2_300}, [])
    assert {command[0] for command in whole.asked} <= READS
    assert whole.largest <= 1_000
    for name, _, first, last, *_ in (command for command in whole.asked if command[0] in ("LRANGE", "ZRANGE")):
        assert 0 <= int(last) - int(first) < 500, f"{name} of {first} to {last}"

    some = Recording(link)
    (report,) = (await check_on(some, "bull", sample=700)).queues
    assert report.checked == {"wait": 700}
    assert sum(command[0] == "HMGET" for command in some.asked) < 710


async def test_jobs_that_move_meanwhile_are_not_taken_for_lost(redis_url: str) -> None:
    """A worker and a producer go on all the time; what is in no place at the first look is looked at again."""

    async def nothing(job: Job[Any]) -> None: ...

    async with Queue("q", redis=redis_url) as queue:
        await queue.add_many([NewJob("n") for _ in range(500)])
        stop = asyncio.Event()

        async def produce() -> None:
            while not stop.is_set():
                jobs = await queue.add_many([NewJob("n", delay=n % 3) for n in range(100)])
                await jobs[-1].result(timeout=20_000)

        producing = asyncio.create_task(produce())
        async with running(Worker("q", nothing, redis=redis_url, concurrency=50, remove_on_complete=500)) as worker:
            await worker.ready.wait()
            for _ in range(3):
                report = await looked(redis_url)
                assert found(report) == {}
                assert report.clients is not None
                assert (len(report.clients.corral_workers), report.clients.bullmq_workers) == (1, [])
            stop.set()
            await producing
