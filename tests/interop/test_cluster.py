"""A queue in a cluster: with a hash tag in the prefix every key that a script touches is in one slot.

On a real server in cluster mode that has all slots: it refuses a call whose KEYS are in several. What scripts touch beside
their KEYS it lets pass there, so that is read from what it says of every command (MONITOR).
"""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import engine.scripts
from engine import FlowJob, FlowProducer, Job, NewJob, Queue, Worker, errors
from engine.connection import Connection, RedisSettings
from engine.connection.embedded import EmbeddedServer
from engine.scripting.loader import Script
from tests.interop.side import VERSIONS, NodeSide, need
from tests.interop.sides import counted
from tests.support.running import running, until

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

PREFIX = "{bull}"
_ARGUMENT = re.compile(rb'"((?:[^"\\]|\\.)*)"')


@pytest.fixture(scope="module")
def cluster() -> Iterator[EmbeddedServer]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        bus = free.getsockname()[1]
    # Its own choice, 10,000 above the port, may be beyond the last.
    with EmbeddedServer(extra_args=["--cluster-enabled", "yes", "--cluster-port", str(bus)], tcp=True) as server:
        yield server


@pytest.fixture
async def place(cluster: EmbeddedServer) -> AsyncIterator[Connection]:
    """The cluster's only server, with all slots and no data."""
    connection = Connection(RedisSettings.parse(cluster.url))
    await connection.connect()
    await connection.call("FLUSHALL", "SYNC")
    if b"cluster_slots_assigned:0" in await connection.call("CLUSTER", "INFO"):
        await connection.call("CLUSTER", "ADDSLOTSRANGE", 0, 16383)

    async def is_up() -> bool:
        return b"cluster_state:ok" in await connection.call("CLUSTER", "INFO")

    await until(is_up, "the cluster served", timeout=20)
    yield connection
    await connection.close()


async def test_all_that_our_scripts_touch_is_in_one_slot(cluster: EmbeddedServer, place: Connection) -> None:
    async with listening(cluster.port) as heard:
        await lead_a_life(cluster.url)
        await place.call("ECHO", "the end")
        await until(lambda: heard and heard[-1][:2] == (b"ECHO", b"the end"), "all was heard")
    commands = set(heard)
    digests = {line[1].decode() for line in commands if line[0] == b"EVALSHA"}
    called = {script.name for script in scripts() if script.digest in digests}
    assert len(called) >= 40, called
    assert await outside(place, commands) == set()


async def lead_a_life(url: str) -> None:
    """What a queue is for, and what its operators do to it."""
    failing = True

    async def work(job: Job[Any]) -> Any:
        await job.update_progress(1)
        await job.log("row")
        await job.update_data({**job.data, "seen": True})
        if job.name == "parent" and job.attempts_started == 1 and not await job.children_values():
            job.add_child(FlowJob("kid", "kids", {}))
            raise errors.WaitForChildren
        if job.name == "fails" and failing:
            raise ValueError("boom")
        if job.name == "hold":
            await asyncio.Event().wait()
        if job.name == "limited" and job.attempts_started == 1:
            raise errors.RateLimited(retry_after=10)
        return job.name

    async with (
        Queue("q", redis=url, prefix=PREFIX) as queue,
        FlowProducer(redis=url, prefix=PREFIX) as flows,
        running(Worker("q", work, redis=url, prefix=PREFIX, metrics=5, concurrency=3)),
        running(Worker("kids", work, redis=url, prefix=PREFIX)),
    ):
        await queue.set_rate_limit(1_000, 100, smooth=True)
        await queue.set_concurrency(50)
        await queue.add_many(
            [NewJob("n", {}), NewJob("n", {}, priority=3), NewJob("n", {}, delay=20), NewJob("limited", {})]
        )
        tree = await flows.add(
            FlowJob("n", "q", {}, children=[FlowJob("n", "kids", {}), FlowJob("n", "q", {}, delay=30)])
        )
        parent = await queue.add("parent", {})
        assert await tree.job.result(timeout=20_000) == "n"
        assert await parent.result(timeout=20_000) == "parent"
        await queue.add("fails", {}, attempts=3, backoff=10)
        await queue.add("fails", {"subAccountId": "tenant"}, attempts=2)
        held = await queue.add("hold", {}, deduplication={"id": "d", "keep_last_if_active": True})
        await counted(queue, failed=2, active=1)
        await queue.add("n", {}, deduplication={"id": "d", "keep_last_if_active": True})
        await queue.cancel(held.id)
        await counted(queue, failed=3, active=0, waiting=0)
        failing = False
        await queue.dead_letters.groups("type")
        await queue.dead_letters.count(text="boom")
        await queue.dead_letters.replay(everything=True, data=lambda letter: {})
        await counted(queue, waiting=0, active=1)
        await queue.cancel(held.id)
        await queue.schedules.upsert("often", "n", {}, every=50)
        await until(lambda: _ran_twice(queue), "the schedule ran twice", timeout=20)
        await queue.pause()
        await queue.schedules.list()
        await queue.schedules.remove("often")
        waiting = [await queue.add("n", {}, priority=priority) for priority in (0, 0, 1, 2)]
        later = [await queue.add("n", {}, delay=60_000, deduplication={"id": str(number)}) for number in range(4)]
        await queue.change_priority(waiting[0].id, 4)
        await queue.change_delay(later[0].id, 70_000)
        await queue.promote(later[1].id)
        await queue.remove_deduplication("2")
        await queue.remove(later[3].id)
        await queue.retry((await queue.jobs("completed"))[0].id)
        for state in ("waiting", "delayed", "completed", "failed"):
            await queue.jobs(state)
            await queue.counts_per_type(state)
        await queue.counts_per_priority()
        await queue.oldest_waiting()
        await queue.metrics("completed")
        await queue.rate_limit_ttl()
        await waiting[0].state()
        await flows.get("q", tree.job.id)
        await flows.remove("q", tree.job.id)
        await queue.resume()
        await queue.clean("completed")
        await queue.pause()
        await queue.drain(delayed=True)
        await queue.dead_letters.purge(everything=True)
    async with Queue("q", redis=url, prefix=PREFIX) as queue:
        await queue.obliterate(force=True)


async def _ran_twice(queue: Queue) -> bool:
    found = await queue.schedules.get("often")
    return found is not None and found.runs > 2


@pytest.mark.parametrize("version", [VERSIONS[0], VERSIONS[-1]])
async def test_a_queue_in_a_cluster_is_shared_with_node(
    cluster: EmbeddedServer, place: Connection, version: str
) -> None:
    need(version)
    async with listening(cluster.port) as heard, NodeSide(version, cluster.url) as node:
        await node.make("Queue", "queue", "q", prefix=PREFIX)
        await node.make("Worker", "worker", "q", prefix=PREFIX)
        await node.make("FlowProducer", "flows", prefix=PREFIX)
        async with Queue("q", redis=cluster.url, prefix=PREFIX) as queue:
            assert await (await queue.add("n", {"value": 1})).result(timeout=20_000) == 1

            async def nothing(job: Job[Any]) -> None: ...

            async with running(Worker("kids", nothing, redis=cluster.url, prefix=PREFIX)):
                kid = {"name": "n", "queueName": "kids", "data": {}}
                await node.call("flows", "add", {"name": "n", "queueName": "q", "data": {}, "children": [kid]})
                await counted(queue, completed=2)
        await until(lambda: heard, "something was heard")
        assert await outside(place, set(heard)) == set()


@asynccontextmanager
async def listening(port: int) -> AsyncIterator[list[tuple[bytes, ...]]]:
    """What the server is told and what its scripts do, as it comes: a command with its arguments each."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
    heard: list[tuple[bytes, ...]] = []
    writer.write(b"MONITOR\r\n")
    assert await reader.readline() == b"+OK\r\n"

    async def listen() -> None:
        while line := await reader.readline():
            heard.append(tuple(_ARGUMENT.findall(line)))

    task = asyncio.create_task(listen())
    try:
        yield heard
    finally:
        task.cancel()
        writer.close()


async def outside(place: Connection, commands: set[tuple[bytes, ...]]) -> set[bytes]:
    """The keys of these commands that are in no queue of the tag."""
    replies = await place.call_many(
        [["COMMAND", "GETKEYS", *command] for command in sorted(commands) if len(command) > 1]
    )
    found = {key for reply in replies if isinstance(reply, list) for key in reply}
    assert any(b":lock" in key for key in found), "of jobs too"
    return {key for key in found if not key.startswith(PREFIX.encode() + b":")}


def scripts() -> list[Script]:
    modules = [
        importlib.import_module(f"engine.scripts.{found.name}")
        for found in pkgutil.iter_modules(engine.scripts.__path__)
    ]
    return [value for module in modules for value in vars(module).values() if isinstance(value, Script)]
