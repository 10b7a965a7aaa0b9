"""Time until a dead worker's jobs run again with default settings, also if other workers crash or reconnect."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from engine import Job, Queue, Worker
from engine.connection import RedisSettings
from engine.connection.embedded import EmbeddedServer
from engine.scripts.claim import claim
from tests.support.daemons import daemon
from tests.support.ledger import LEDGER, Ledger
from tests.support.proxy import Proxy
from tests.support.running import until

BOUND_MS = 20_000
"""From a death until the job is in line again: a lock of 15 s and a sweep every 5 s (docs/stalled-jobs.md)."""


@pytest.mark.slow
@pytest.mark.timeout(90)
@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_dead_workers_jobs_are_back_in_20_s(tmp_path: Path) -> None:
    with EmbeddedServer(tcp=True) as server:
        async with (
            Queue("flapping", redis=server.url) as flapping,
            Queue("q", redis=server.url) as looping,
            Proxy("127.0.0.1", server.port) as proxy,
        ):
            waited = await asyncio.gather(
                _with_flapping_connections(flapping, proxy), _in_a_crash_loop(looping, server.url, tmp_path)
            )
    assert max(waited) <= BOUND_MS


async def _with_flapping_connections(queue: Queue, proxy: Proxy) -> int:
    """The other worker's connections are cut every three seconds."""

    async def run(job: Job[Any]) -> None: ...

    died = await _die_with_a_job(queue)
    settings = RedisSettings(host="127.0.0.1", port=proxy.port)
    async with Worker("flapping", run, redis=settings):
        while not (back := await _back_in_line(queue)):
            cut = time.monotonic() + 3
            await until(lambda: _back_or(queue, cut), "the next cut")  # noqa: B023
            await proxy.reset()
    return back - died


async def _in_a_crash_loop(queue: Queue, url: str, tmp_path: Path) -> int:
    """The other worker is killed two seconds after each of its starts."""
    died = await _die_with_a_job(queue)
    ledger = Ledger(tmp_path / "ledger")
    while not (back := await _back_in_line(queue)):
        seen = await queue.link.call("GET", queue.keys.watch)
        with daemon(
            "tests.support.ledger", "--queue", "q", "--redis", url, log=tmp_path / "log", env={LEDGER: str(ledger.path)}
        ) as worker:
            await until(lambda: _looked(queue, seen), "it looks", timeout=20)  # noqa: B023
            end = time.monotonic() + 2
            await until(lambda: _back_or(queue, end), "the next kill")  # noqa: B023
            worker.kill()
    return back - died


async def _die_with_a_job(queue: Queue) -> int:
    """A worker that dies right after its claim: the worst case. When, in ms of the server's time."""
    await queue.add("work", 0)
    claimed = await claim(queue.link, queue.keys, token="dead", lock_ms=15_000, worker="dead", count=1)
    assert len(claimed.jobs) == 1
    seconds, microseconds = await queue.link.call("TIME")
    return int(seconds) * 1000 + int(microseconds) // 1000


async def _back_in_line(queue: Queue) -> int:
    """When the job was put back, in ms of the server's time; 0 if it was not yet."""
    for id, fields in await queue.link.call("XRANGE", queue.keys.events, "-", "+"):
        if b"stalled" in fields:
            return int(id.partition(b"-")[0])
    return 0


async def _back_or(queue: Queue, end: float) -> bool:
    return time.monotonic() >= end or await _back_in_line(queue) > 0


async def _looked(queue: Queue, before: bytes | None) -> bool:
    return bool(await queue.link.call("GET", queue.keys.watch) != before)
