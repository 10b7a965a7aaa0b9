"""Servers that workers and producers refuse: at the start, and when one comes back other than it was."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from engine import FlowJob, FlowProducer, Job, JobQueueService, NewJob, Queue, Settings, Worker
from engine.connection import Connection, RedisSettings
from engine.connection.embedded import EmbeddedServer
from engine.errors import ServerUnfit
from engine.model.keys import Keys
from engine.model.options import AddOptions
from engine.scripts.pause import pause
from engine.sync.queue import SyncQueue
from tests.support.daemons import ROOT, daemon
from tests.support.running import until
from tests.worker.test_daemon import ONE_LOOP, PROBE, active, ended, said

pytestmark = ONE_LOOP


async def echo(job: Job[Any]) -> Any:
    return job.data


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    connection = Connection(RedisSettings.parse(url))
    await connection.connect()
    try:
        yield connection
    finally:
        await connection.close()


# --- a server that comes back -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--appendfsync", "no"], "appendfsync no"), (["--maxmemory-policy", "allkeys-lru"], "allkeys-lru")],
)
async def test_an_unfit_server_that_comes_back_ends_the_worker(tmp_path: Path, options: list[str], words: str) -> None:
    release, told = asyncio.Event(), list[BaseException]()

    async def hold(job: Job[Any]) -> str:
        await release.wait()
        return "kept"

    with EmbeddedServer(tmp_path) as before, EmbeddedServer(tmp_path, extra_args=options) as after:
        async with Queue("q", redis=before.url) as queue:
            worker = Worker("q", hold, redis=before.url, require_durable=True)
            worker.on("error", lambda error: told.append(error) if isinstance(error, ServerUnfit) else None)
            run = asyncio.create_task(worker.run())
            running = await queue.add("n")
            await active(queue)
            await asyncio.to_thread(before.stop)
            await asyncio.to_thread(after.start)
            await until(lambda: told, "the worker saw what came back")
            waiting = await queue.add("n")
            release.set()
            with pytest.raises(ServerUnfit, match=words):
                await run
            assert await running.result(timeout=5_000) == "kept"
            assert await waiting.state() == "waiting"


async def test_a_fit_server_that_comes_back_is_worked_on() -> None:
    with EmbeddedServer() as server:
        async with Queue("q", redis=server.url) as queue, Worker("q", echo, redis=server.url, require_durable=True):
            await (await queue.add("n", 1)).result(timeout=10_000)
            await asyncio.to_thread(server.restart)
            assert await (await queue.add("n", 2)).result(timeout=10_000) == 2


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
async def test_a_daemon_ends_with_3_when_its_server_is_unfit(tmp_path: Path, processes: int) -> None:
    data, options = tmp_path / "data", ["--maxmemory-policy", "allkeys-lru"]
    with EmbeddedServer(data) as before, EmbeddedServer(data, extra_args=options) as after:
        arguments = (*PROBE, "--processes", str(processes), "--redis", before.url)
        with daemon(*arguments, log=tmp_path / "log") as worker:
            await until(
                lambda: said(worker).count("Working on") == processes or worker.process.poll(), "all work", timeout=20
            )
            await asyncio.to_thread(before.stop)
            await asyncio.to_thread(after.start)
            assert await ended(worker) == 3, said(worker)
        assert "maxmemory-policy is allkeys-lru" in said(worker)
        assert "a new one starts" not in said(worker)


async def test_the_service_says_why_its_workers_ended(caplog: pytest.LogCaptureFixture) -> None:
    with EmbeddedServer(extra_args=["--maxmemory-policy", "allkeys-lru"]) as server:
        async with JobQueueService(
            Settings(redis=RedisSettings.parse(server.url)), processors={"sms": echo}
        ) as service:
            await service.start_workers()
            await until(
                lambda: "Worker ended: the server's maxmemory-policy is allkeys-lru" in caplog.text, "it is said"
            )


# --- a user who may not run everything --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def thin_server() -> Iterator[EmbeddedServer]:
    users = [
        word
        for command in ("xadd", "zadd", "lrem", "hsetnx", "rename")
        for word in (
            "--user",
            f"no-{command}",
            "on",
            "nopass",
            "~bull:*",
            "+@all",
            "-@dangerous",
            "-acl",
            f"-{command}",
        )
    ]
    documented = re.search(r"ACL SETUSER (jobs .*)", (ROOT / "docs/server.md").read_text())
    assert documented is not None
    with EmbeddedServer(extra_args=[*users, "--user", *documented[1].split()]) as server:
        yield server


def without(server: EmbeddedServer, command: str) -> str:
    return server.url.replace("unix://", f"unix://no-{command}@")


@asynccontextmanager
async def unchanged(server: EmbeddedServer) -> AsyncIterator[None]:
    """Nothing is written in the block but what tells that a queue was opened."""
    async with connected(server.url) as admin:
        await admin.call("FLUSHALL")
        yield
        keys = {key.rpartition(b":")[2] for key in await admin.call("KEYS", "*")}
        assert keys <= {b"meta", b"id"}


@pytest.mark.parametrize("command", ["xadd", "zadd"])
async def test_a_producer_without_a_command_adds_nothing(thin_server: EmbeddedServer, command: str) -> None:
    url, refused = without(thin_server, command), f"may not run {command.upper()} .*\\+{command}"
    async with unchanged(thin_server):
        async with Queue("q", redis=url) as queue:
            ways: tuple[AddOptions, ...] = ({}, {"delay": 60_000}, {"priority": 1})
            for options in ways:
                with pytest.raises(ServerUnfit, match=refused):
                    await queue.add("n", **options)
            with pytest.raises(ServerUnfit, match=refused):
                await queue.add_many([NewJob("n", {})])
            assert (await queue.counts()).waiting == 0
        async with FlowProducer(redis=url) as flows:
            with pytest.raises(ServerUnfit, match=refused):
                await flows.add(FlowJob("n", "q", children=[FlowJob("n", "q")]))
        async with JobQueueService(Settings(redis=RedisSettings.parse(url))) as service:
            with pytest.raises(ServerUnfit, match=refused):
                await service.add_job("sms", {"subAccountId": "1", "phoneNumbers": ["+15550100"], "message": "Hi"})
        await asyncio.to_thread(blocked_add, url, refused)


def blocked_add(url: str, refused: str) -> None:
    with SyncQueue("q", redis=url) as queue, pytest.raises(ServerUnfit, match=refused):
        queue.add("n")


async def test_the_documented_user_may_do_all_that_is_needed(thin_server: EmbeddedServer) -> None:
    url = thin_server.url.replace("unix://", "unix://jobs:SECRET@")
    worker = Worker("q", echo, redis=url, require_durable=True, metrics=10)
    async with Queue("q", redis=url) as queue, FlowProducer(redis=url) as flows, worker:
        tree = await flows.add(FlowJob("n", "q", 1, children=[FlowJob("n", "q", 2, delay=10)]))
        assert await tree.job.result(timeout=10_000) == 1
        await queue.pause()
        await queue.obliterate()


async def test_a_command_that_is_granted_later_is_used(thin_server: EmbeddedServer) -> None:
    async with connected(thin_server.url) as admin, Queue("q", redis=without(thin_server, "rename")) as queue:
        with pytest.raises(ServerUnfit, match="may not run RENAME"):
            await queue.add("n")
        await admin.call("ACL", "SETUSER", "no-rename", "+rename")
        assert await (await queue.add("n")).state() == "waiting"


@pytest.mark.parametrize("command", ["lrem", "hsetnx"])
async def test_a_worker_without_a_command_does_not_start(thin_server: EmbeddedServer, command: str) -> None:
    # HSETNX is called only by the scripts with which a job adds children.
    async with unchanged(thin_server):
        with pytest.raises(ServerUnfit, match=f"may not run {command.upper()} .*\\+{command}"):
            await Worker("q", echo, redis=without(thin_server, command)).run()


# --- replicas and clusters --------------------------------------------------------------------------------------------


async def test_nothing_opens_on_a_read_only_replica() -> None:
    with EmbeddedServer(tcp=True) as primary, EmbeddedServer(tcp=True) as replica:
        async with connected(replica.url) as admin:
            await admin.call("REPLICAOF", "127.0.0.1", primary.port)
            refused = f"read-only replica.*connect to its primary, 127.0.0.1:{primary.port}"
            with pytest.raises(ServerUnfit, match=refused):
                await Worker("q", echo, redis=replica.url).run()
            with pytest.raises(ServerUnfit, match=refused):
                await Queue("q", redis=replica.url).open()
            async with FlowProducer(redis=replica.url) as flows:
                with pytest.raises(ServerUnfit, match=refused):
                    await flows.add(FlowJob("n", "q"))


async def test_a_worker_lives_through_a_failover(tmp_path: Path) -> None:
    with EmbeddedServer(tcp=True) as server:
        async with (
            connected(server.url) as admin,
            Queue("q", redis=server.url) as queue,
            Worker("q", echo, redis=server.url) as worker,
        ):
            await admin.call("REPLICAOF", "127.0.0.1", 1)
            await admin.call("CLIENT", "KILL", "TYPE", "normal")
            await until(lambda: worker.counters.troubles, "the worker met a replica")
            await admin.call("REPLICAOF", "NO", "ONE")
            assert await (await queue.add("n", 7)).result(timeout=20_000) == 7


@contextmanager
def cluster_node() -> Iterator[tuple[EmbeddedServer, int]]:
    """A server in cluster mode, without slots, and the port of its bus."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        bus = free.getsockname()[1]
    with EmbeddedServer(extra_args=["--cluster-enabled", "yes", "--cluster-port", str(bus)], tcp=True) as server:
        yield server, bus


async def is_up(node: Connection) -> bool:
    return b"cluster_state:ok" in await node.call("CLUSTER", "INFO")


async def test_a_cluster_node_is_refused_without_a_hash_tag() -> None:
    refused = r"node of a Redis Cluster.*hash tag, such as prefix='\{bull\}'"
    with cluster_node() as (node, _):
        async with connected(node.url) as admin:
            await admin.call("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            await until(lambda: is_up(admin), "the cluster serves", timeout=20)
        with pytest.raises(ServerUnfit, match=refused):
            await Worker("q", echo, redis=node.url).run()
        with pytest.raises(ServerUnfit, match=refused):
            await Queue("q", redis=node.url).open()
        async with FlowProducer(redis=node.url) as flows:
            with pytest.raises(ServerUnfit, match=refused):
                await flows.add(FlowJob("n", "q"))
        queue = Queue("q", redis=node.url, prefix="{bull}")
        async with queue, Worker("q", echo, redis=node.url, prefix="{bull}"):
            assert await (await queue.add("n", 3)).result(timeout=10_000) == 3


async def test_a_slot_of_another_node_names_that_node() -> None:
    with cluster_node() as (first, _), cluster_node() as (second, bus):
        async with connected(first.url) as one, connected(second.url) as two:
            slot = await one.call("CLUSTER", "KEYSLOT", "{bull}")
            await one.call("CLUSTER", "ADDSLOTSRANGE", 0, slot - 1, slot + 1, 16383)
            await two.call("CLUSTER", "ADDSLOTS", slot)
            await two.call("CONFIG", "SET", "cluster-announce-ip", "127.0.0.1")
            await one.call("CLUSTER", "MEET", "127.0.0.1", second.port, bus)
            await until(lambda: is_up(one), "the cluster serves", timeout=20)
            refused = f"on another node: connect to 127.0.0.1:{second.port};"
            with pytest.raises(ServerUnfit, match=refused):
                await Queue("q", redis=first.url, prefix="{bull}").open()
            with pytest.raises(ServerUnfit, match=refused):
                await Worker("q", echo, redis=first.url, prefix="{bull}").run()
            with pytest.raises(ServerUnfit, match=refused):
                await pause(one, Keys("q", "{bull}"))
