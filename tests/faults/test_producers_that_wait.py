"""Producers whose server cannot take a call: the call waits exactly as long as `wait`, whatever the cause."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from engine import FlowJob, FlowProducer, JobQueueService, NewJob, Queue, RedisSettings, Settings, SyncQueue
from engine.connection import Connection, RedisPyLink, open_link
from engine.connection.embedded import EmbeddedServer
from engine.errors import AuthFailed, ConnectFailed, OutcomeUnknown, ServerBusy
from tests.support.invariants import violations
from tests.support.running import until

LONG = 60_000
UNENDING = "while true do end"


class Troubled:
    """A server of the test's own that can be brought into any state in which it takes nothing, and out of it."""

    def __init__(self, server: EmbeddedServer, link: Connection) -> None:
        self.server = server
        self.link = link
        self._script: asyncio.Task[object] | None = None

    async def begin(self, trouble: str) -> None:
        match trouble:
            case "OOM":
                await self._set("maxmemory", 1)
            case "READONLY":
                await self.link.call("REPLICAOF", "127.0.0.1", 1)
            case "NOREPLICAS":
                await self._set("min-replicas-to-write", 1)
            case "MISCONF":
                self._dump.mkdir()
                await self._set("save", "3600 1")
                await self.link.call("BGSAVE")
                await until(partial(self._says, b"rdb_last_bgsave_status:err"), "the dump has failed")
            case "BUSY":
                blocker = await open_link(self.server.url)
                self._script = asyncio.create_task(_run_for_ever(blocker))
                await until(self._is_busy, "the script runs")
            case "away":
                await asyncio.to_thread(self.server.stop)
            case _:
                raise AssertionError(trouble)

    async def end(self, trouble: str) -> None:
        match trouble:
            case "OOM":
                await self._set("maxmemory", 0)
            case "READONLY":
                await self.link.call("REPLICAOF", "NO", "ONE")
            case "NOREPLICAS":
                await self._set("min-replicas-to-write", 0)
            case "MISCONF":
                self._dump.rmdir()
                await self._set("save", "")
            case "BUSY":
                assert self._script is not None
                await self.link.call("SCRIPT", "KILL")
                await self._script
            case "away":
                await asyncio.to_thread(self.server.start)

    @property
    def _dump(self) -> Path:
        return Path(self.server.directory) / "dump.rdb"

    async def _set(self, name: str, value: object) -> None:
        await self.link.call("CONFIG", "SET", name, str(value))

    async def _says(self, line: bytes) -> bool:
        return line in await self.link.call("INFO", "persistence")

    async def _is_busy(self) -> bool:
        try:
            await self.link.call("PING")
        except ServerBusy:
            return True
        return False


async def _run_for_ever(link: Connection | RedisPyLink) -> None:
    try:
        await link.call("EVAL", UNENDING, 0)
    except Exception:
        await link.close()


TROUBLES = {
    "OOM": "has reached its maxmemory",
    "READONLY": "is a read-only replica; give the address of the primary",
    "NOREPLICAS": "has too few replicas",
    "MISCONF": "cannot write its data to disk",
    "BUSY": "is blocked by a script",
    "away": "nothing listens there",
}


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(tcp=True, extra_args=["--busy-reply-threshold", "50"]) as server:
        try:
            yield server
        finally:
            server.kill()  # in whatever state a test that failed has left it


@pytest.fixture
async def troubled(server: EmbeddedServer) -> AsyncIterator[Troubled]:
    link = await open_link(server.url)
    assert isinstance(link, Connection)
    yield Troubled(server, link)
    async with Queue("q", redis=server.url) as queue:
        assert not await violations(queue.link, queue.keys)
    await link.close()


@pytest.fixture(params=["own", "redis-py"])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which link the producers have."""
    return str(request.param)


async def opened(troubled: Troubled, implementation: str, wait: int) -> Queue:
    """A queue on a connected link of its own."""
    os.environ["CORRAL_LINK"] = implementation
    try:
        return await Queue("q", redis=troubled.server.url, wait=wait).open()
    finally:
        del os.environ["CORRAL_LINK"]


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_an_add_waits_until_the_server_takes_it(troubled: Troubled, implementation: str, trouble: str) -> None:
    queue = await opened(troubled, implementation, LONG)
    await troubled.begin(trouble)
    adding = [asyncio.create_task(queue.add("x", 1)), asyncio.create_task(queue.add_many([NewJob("y", 2)]))]
    await until(lambda: not queue._shared.link.serving, "the link has noticed")  # type: ignore[union-attr]
    assert not any(task.done() for task in adding)
    await troubled.end(trouble)
    await asyncio.gather(*adding)
    assert sorted(job.name for job in await queue.jobs("waiting")) == ["x", "y"], "each once"
    await queue.close()


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_when_the_wait_is_over_the_error_says_why(troubled: Troubled, implementation: str, trouble: str) -> None:
    for wait in (300, 0):
        queue = await opened(troubled, implementation, wait)
        await troubled.begin(trouble)
        if trouble == "away" and implementation == "own":
            await until(lambda: "reconnecting" in repr(queue._shared.link), "the loss is seen")  # noqa: B023
            if wait == 0:  # the first try to reconnect knows more than that the line was lost
                await until(lambda: "nothing listens" in str(queue._shared.link._failure), "it tried")  # type: ignore[union-attr]  # noqa: B023
        with pytest.raises((ServerBusy, ConnectFailed)) as refused:
            await queue.add("x")
        assert TROUBLES[trouble] in str(refused.value)
        assert f"127.0.0.1:{troubled.server.port}" in str(refused.value)
        if isinstance(refused.value, ServerBusy):
            assert refused.value.code == trouble
            assert f"waited {wait / 1000:g} s, nothing was done" in str(refused.value)
        await troubled.end(trouble)
        assert (await troubled.link.call("EXISTS", queue.keys.wait)) == 0
        await queue.close()


async def test_every_producer_has_the_same_rule(troubled: Troubled) -> None:
    url = troubled.server.url
    settings = Settings(redis=RedisSettings.parse(url), wait=200)
    async with (
        Queue("q", redis=url, wait=200) as queue,
        FlowProducer(redis=url, wait=200) as flows,
        JobQueueService(settings) as service,
    ):
        blocking = SyncQueue("q", redis=url, wait=200)
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: queue.add("x"),
            lambda: queue.add_many([NewJob("x")]),
            lambda: flows.add(FlowJob("x", "q", children=[FlowJob("y", "q")])),
            lambda: queue.schedules.upsert("s", "x", every=60_000),
            lambda: asyncio.to_thread(blocking.add, "x"),
            lambda: asyncio.to_thread(blocking.flows.add, FlowJob("x", "q", children=[FlowJob("y", "q")])),
            lambda: service.add_job("sms", {"subAccountId": "1", "phoneNumbers": ["+15550100"], "message": "Hi"}),
        ]
        await asyncio.to_thread(blocking.flows.get, "q", "none")
        await troubled.begin("OOM")
        await troubled.link.call("CONFIG", "SET", "maxmemory", 1)
        for call in calls:
            with pytest.raises(ServerBusy, match=r"waited 0\.2 s"):
                await call()
        await troubled.end("OOM")
        await asyncio.to_thread(blocking.close)


async def test_a_hung_server_is_noticed_before_the_call_timeout(troubled: Troubled, implementation: str) -> None:
    queue = await opened(troubled, implementation, 1_000)
    os.kill(troubled.server.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(OutcomeUnknown, match="may have been carried out"):
            await queue.add("x")
        assert time.monotonic() - began < queue._redis.call_seconds / 2
    finally:
        os.kill(troubled.server.pid, signal.SIGCONT)
    await queue.close()


async def test_a_slow_server_does_not_count_as_hung(troubled: Troubled) -> None:
    slow = """local function now() local t = redis.call('TIME') return t[1] * 1000 + t[2] / 1000 end
    local ends = now() + 400
    while now() < ends do end"""
    # Longer in all than a producer's link with this wait bears silence.
    link = await open_link(troubled.server.url, call_wait=0)
    before = await link.call("CLIENT", "ID")
    # Each is larger than what the server reads at once, so that it answers one before it reads the next.
    await asyncio.gather(*(link.call("EVAL", slow, 0, b"x" * 300_000) for _ in range(5)))
    assert await link.call("CLIENT", "ID") == before
    await link.close()


async def test_each_add_waits_its_own_time_for_a_lost_server(troubled: Troubled) -> None:
    async with Queue("q", redis=troubled.server.url, wait=LONG) as queue:
        await queue.add("x")
        await troubled.begin("away")
        await until(lambda: "reconnecting" in repr(queue._shared.link), "the loss is seen")
        adding = []
        for n in range(100):
            adding.append(asyncio.create_task(queue.add("x", n)))
            await asyncio.sleep(0.001)
        # Those that gathered behind others would begin to wait when the others had waited in vain.
        try:
            await until(lambda: "AddBatcher 0 pending" in repr(queue), "every job has left for the link", timeout=5)
        finally:
            await troubled.end("away")
        assert len({job.id for job in await asyncio.gather(*adding)}) == 100


async def test_the_first_connect_waits_too(troubled: Troubled) -> None:
    await troubled.begin("away")
    with pytest.raises(ConnectFailed, match="nothing listens there"):
        await Queue("q", redis=troubled.server.url, wait=0).open()
    with pytest.raises(ConnectFailed, match=r"nothing listens there.* \(tried for 0\.2 s\)"):
        await Queue("q", redis=troubled.server.url, wait=200).open()
    queue = Queue("q", redis=troubled.server.url, wait=LONG)
    opening = asyncio.create_task(queue.open())
    await asyncio.sleep(0)
    await troubled.end("away")
    await opening
    await queue.close()


async def test_what_no_waiting_can_mend_is_raised_at_once(troubled: Troubled) -> None:
    place = f"127.0.0.1:{troubled.server.port}"
    for url, error in ((f"redis://:wrong@{place}", AuthFailed), (f"redis://{place}/9999", ConnectFailed)):
        async with asyncio.timeout(LONG / 2_000):
            with pytest.raises(error):
                await Queue("q", redis=url, wait=LONG).open()


def test_what_the_guide_shows_runs(redis_url: str) -> None:
    guide = (Path(__file__).parents[2] / "docs/when-redis-fails.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
    for url, words in (
        (redis_url, "added\n"),
        ("redis://127.0.0.1:1", "not added: cannot reach Redis at redis://127.0.0.1:1/0"),
    ):
        ran = subprocess.run(
            [sys.executable, "-c", example],
            env=os.environ | {"REDIS_URL": url},
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert ran.stdout.startswith(words), ran.stderr
