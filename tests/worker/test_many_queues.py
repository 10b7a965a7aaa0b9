"""Many queues in one process: few connections, each queue still wakes by its marker, none holds up another."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from engine import Job, Queue, Worker, WorkerGroup
from engine.connection import Link, RedisSettings
from engine.errors import InvalidOption, ServerUnfit, WrongType
from engine.model.keys import Keys
from engine.worker.shared import MAX_WAITING
from tests.support.daemons import daemon
from tests.support.running import until
from tests.support.seeding import seed
from tests.worker.test_daemon import ended, said, works

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

MANY = 40
"""More queues than waiting connections, so that queues share them."""


def names(count: int) -> list[str]:
    return [f"q{number}" for number in range(count)]


class Ran:
    """Workers of many queues, and what they ran."""

    def __init__(self, url: str | RedisSettings, queues: Sequence[str], **options: Any) -> None:
        self.jobs: list[tuple[str, Any]] = []
        self.held: set[str] = set()
        self.release = asyncio.Event()
        # Without its marker no queue would find a job in time.
        options = {"drain_delay": 60_000, "concurrency": 1} | options
        self.workers = {queue: Worker(queue, self._run, redis=url, **options) for queue in queues}

    async def _run(self, job: Job[Any]) -> None:
        if job.queue_name in self.held:
            await self.release.wait()
        self.jobs.append((job.queue_name, job.data))

    async def all_idle(self) -> None:
        await until(lambda: all(worker.counters.turns for worker in self.workers.values()), "all have looked once")

    async def each_runs(self, data: Any, queues: Sequence[str]) -> None:
        def all_ran() -> bool:
            return sorted(queue for queue, found in self.jobs if found == data) == sorted(queues)

        await until(all_ran, f"each queue ran {data!r}", timeout=30)


async def add(link: Link, url: str, queues: Sequence[str], data: Any) -> None:
    async with AsyncExitStack() as stack:
        for name in queues:
            queue = await stack.enter_async_context(Queue(name, redis=url))
            await queue.add("probe", data)


async def all_gone(link: Link, worker: str) -> None:
    async def are_gone() -> bool:
        return not await clients(link, worker)

    await until(are_gone, "the connections are closed")


async def clients(link: Link, worker: str) -> list[str]:
    """The names of the connections of the workers with this name."""
    lines = (await link.call("CLIENT", "LIST")).decode().splitlines()
    found = [word[5:] for line in lines for word in line.split() if word.startswith("name=")]
    return sorted(name for name in found if worker in name.split(":"))


async def test_many_queues_share_few_connections(redis_url: str, link: Link) -> None:
    queues = names(MANY)
    ran = Ran(redis_url, queues, name="many")
    async with WorkerGroup(*ran.workers.values()):
        expected = [Keys(queue).client_name(":w:many") for queue in queues[:MAX_WAITING]]
        assert await clients(link, "many") == sorted(["corral:many", "corral:many:renew", *expected])
        await ran.all_idle()
        for data in range(4):
            await add(link, redis_url, queues, data)
            await ran.each_runs(data, queues)
    await all_gone(link, "many")
    assert await link.call("KEYS", "*poke*") == []


async def test_a_full_queue_holds_up_no_other(redis_url: str, link: Link) -> None:
    queues = names(MANY)
    ran = Ran(redis_url, queues)
    full, others = queues[: MANY // 2], queues[MANY // 2 :]
    ran.held = set(full)
    async with WorkerGroup(*ran.workers.values()):
        await ran.all_idle()
        # Two each: the second waits for a slot, and its marker is for another process.
        await add(link, redis_url, full * 2, "held")
        await until(lambda: sum(len(worker.running_jobs()) for worker in ran.workers.values()) == len(full), "all full")
        await add(link, redis_url, others, "free")
        await ran.each_runs("free", others)
        ran.release.set()
        await ran.each_runs("held", full * 2)
        await add(link, redis_url, queues, "after")
        await ran.each_runs("after", queues)


async def test_a_lost_waiting_connection_wakes_all_its_queues(redis_url: str, link: Link) -> None:
    queues = names(MANY)
    ran = Ran(redis_url, queues)
    async with WorkerGroup(*ran.workers.values()):
        await ran.all_idle()
        # Without a marker, as if it was taken and the reply was lost.
        for name in queues:
            await seed(link, Keys(name), wait=["lost"])
        assert ran.jobs == []
        await link.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await until(lambda: len(ran.jobs) == MANY, "all ran", timeout=30)
        await add(link, redis_url, queues, "after")
        await ran.each_runs("after", queues)


async def test_a_worker_that_leaves_takes_no_more_markers(redis_url: str, link: Link) -> None:
    queues = names(MANY)
    ran = Ran(redis_url, queues)
    async with WorkerGroup(*ran.workers.values()):
        await ran.all_idle()
        for name in queues[::2]:
            await ran.workers[name].close()
        await add(link, redis_url, queues, "after")
        await ran.each_runs("after", queues[1::2])
        markers = [await link.call("ZCARD", Keys(name).marker) for name in queues[::2]]
        assert markers == [1] * (MANY // 2)


async def test_a_broken_marker_stops_only_its_queue(redis_url: str, link: Link) -> None:
    queues = names(MANY)
    ran = Ran(redis_url, queues)
    errors: list[tuple[str, BaseException]] = []
    for name, worker in ran.workers.items():
        worker.on("error", lambda error, name=name: errors.append((name, error)))
    async with WorkerGroup(*ran.workers.values()):
        await ran.all_idle()
        await link.call("SET", Keys("q3").marker, "x")
        rest = [name for name in queues if name != "q3"]
        await add(link, redis_url, rest, "one")
        await ran.each_runs("one", rest)
        await until(lambda: errors, "it was reported")
        assert {(name, type(error)) for name, error in errors} == {("q3", WrongType)}
        await link.call("DEL", Keys("q3").marker)
        await add(link, redis_url, queues, "two")
        await ran.each_runs("two", queues)


async def test_idle_queues_ask_for_little(redis_url: str, link: Link) -> None:
    ran = Ran(redis_url, names(MANY), drain_delay=5_000)

    async def calls(command: str) -> int:
        for line in (await link.call("INFO", "commandstats")).decode().splitlines():
            if line.startswith(f"cmdstat_{command}:"):
                return int(line.partition("calls=")[2].partition(",")[0])
        return 0

    async with WorkerGroup(*ran.workers.values()):
        await ran.all_idle()
        looks, scripts, waits = await calls("llen"), await calls("evalsha"), await calls("bzpopmin")

        async def looked() -> bool:
            return await calls("llen") - looks >= 4 * MANY

        # A look a second: whether a job is active, which could have stalled.
        await until(looked, "four seconds or so passed", timeout=60)
        seconds = (await calls("llen") - looks) / MANY
        # Each 5 s a poll, and three checks.
        assert (await calls("evalsha") - scripts) / MANY < 2 * seconds
        assert await calls("bzpopmin") - waits < MANY * seconds


async def test_locks_of_all_queues_are_renewed(redis_url: str, link: Link) -> None:
    queues = names(MANY)
    ran = Ran(redis_url, queues, lock_duration=1_000, lock_renew=200, stalled_interval=200)
    ran.held = set(queues)
    async with WorkerGroup(*ran.workers.values()) as group:
        await add(link, redis_url, queues, "long")
        await until(lambda: all(worker.running_jobs() for worker in group.workers), "all run", timeout=30)
        renewed = await until(lambda: group.workers[0]._shared, "they share")
        before = renewed.renewer.renewed
        await until(lambda: renewed.renewer.renewed > before + 8 * MANY, "locks were renewed many times", timeout=30)
        ran.release.set()
        await ran.each_runs("long", queues)
    assert sum(worker.counters.stalled + worker.counters.lost for worker in group.workers) == 0


async def test_one_that_cannot_start_ends_the_group(redis_url: str, link: Link) -> None:
    ran = Ran(redis_url, names(3), name="three")
    bad = Worker("bad", ran._run, redis=redis_url, dependencies=[_pool])
    with pytest.raises(RuntimeError, match="no pool"):
        await WorkerGroup(*ran.workers.values(), bad).run()
    await all_gone(link, "three")


class Pool:
    def __init__(self, size: int) -> None:
        if size < 1:
            raise RuntimeError("no pool")


async def _pool() -> AsyncIterator[Pool]:
    yield Pool(0)


async def test_a_queue_whose_keys_are_refused_ends_the_group(redis_url: str, link: Link) -> None:
    await link.call("ACL", "SETUSER", "few", "reset", "on", ">secret", "+@all", "~bull:q0:*", "~bull:q1:*", "&*")
    try:
        settings = structs.replace(RedisSettings.parse(redis_url), username="few", password="secret")
        ran = Ran(settings, names(3))
        with pytest.raises(ServerUnfit, match="may not run HSET on keys such as 'bull:q2:meta'"):
            await WorkerGroup(*ran.workers.values()).run()
        async with WorkerGroup(*Ran(settings, names(2)).workers.values()):
            pass
    finally:
        await link.call("ACL", "DELUSER", "few")


async def test_a_group_wants_one_worker_a_queue(redis_url: str) -> None:
    async def run(job: Job[Any]) -> None: ...

    with pytest.raises(InvalidOption, match="no worker was given"):
        WorkerGroup()
    with pytest.raises(InvalidOption, match="two workers have the queue 'q'"):
        WorkerGroup(Worker("q", run, redis=redis_url), Worker("q", run, redis=redis_url))
    WorkerGroup(Worker("q", run, redis=redis_url), Worker("q", run, redis=redis_url, prefix="other"))


async def test_a_daemon_of_300_queues(redis_url: str, link: Link, tmp_path: Path) -> None:
    queues = names(300)
    flags = [word for name in queues for word in ("--queue", name)]
    with daemon("processors.probe:probe", *flags, "--redis", redis_url, log=tmp_path / "log") as worker:
        await works(worker)
        name = f"{socket.gethostname()}-{worker.process.pid}"
        assert len(await clients(link, name)) == MAX_WAITING + 2
        await add(link, redis_url, queues, {})

        async def all_ran() -> bool:
            counts = [await link.call("ZCARD", Keys(name).completed) for name in queues]
            return counts == [1] * len(queues)

        await until(all_ran, "each ran its job", timeout=60)
        worker.signal(signal.SIGTERM)
        assert await ended(worker) == 0, said(worker)
