"""Lost replies: the caller gets OutcomeUnknown, and sending again is safe."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import pytest

from engine import DeadLetter, Job, NewJob, Queue, RedisSettings, Worker
from engine.connection import open_link
from engine.connection.embedded import EmbeddedServer
from engine.errors import DeadLetterNotFound, LockLost, OutcomeUnknown
from engine.model.options import Keep
from engine.model.records import Claimed
from engine.scripting.loader import loading
from engine.scripting.pace import DEAD_LETTERS_PER_CALL
from engine.scripting.rows import Refusal
from engine.scripts.claim import claim
from engine.scripts.finish import finish
from engine.scripts.recover_claim import recover_claim
from tests.support.dead_letters import Death, fail_jobs
from tests.support.invariants import violations
from tests.support.proxy import Proxy
from tests.support.running import running, until


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(tcp=True) as server:
        yield server


@pytest.fixture
async def direct(server: EmbeddedServer) -> AsyncIterator[Queue]:
    """The queue, past the proxy; empty at first and sound at the end."""
    async with Queue("q", redis=server.url) as queue:
        await queue.link.call("FLUSHALL")
        yield queue
        assert not await violations(queue.link, queue.keys)


@pytest.fixture
async def proxy(server: EmbeddedServer) -> AsyncIterator[Proxy]:
    async with Proxy("127.0.0.1", server.port or 0) as proxy:
        yield proxy


def through(proxy: Proxy) -> RedisSettings:
    return RedisSettings(host="127.0.0.1", port=proxy.port, call_timeout=300)


async def test_an_add_with_a_job_id_can_be_sent_again(direct: Queue, proxy: Proxy) -> None:
    async with Queue("q", redis=through(proxy)) as queue:
        proxy.drop_replies = True
        with pytest.raises(OutcomeUnknown):
            await queue.add("pay", {"amount": 5}, job_id="invoice-7")
        proxy.drop_replies = False
        job = await queue.add("pay", {"amount": 5}, job_id="invoice-7")
        assert job.id == "invoice-7"
        assert [waiting.id for waiting in await direct.jobs("waiting")] == ["invoice-7"]


async def test_a_claim_and_a_finish_can_be_sent_again(direct: Queue, proxy: Proxy) -> None:
    await direct.add_many([NewJob("x", n) for n in range(3)])
    link = await open_link(through(proxy), prelude=loading("claim", "finish"))
    try:
        proxy.drop_replies = True
        with pytest.raises(OutcomeUnknown):
            await claim(link, direct.keys, token="t1", lock_ms=10_000, worker="w", count=2)
        proxy.drop_replies = False
        found = await recover_claim(link, direct.keys, token="t1", lock_ms=10_000)
        assert [job.data for job in found] == [b"0", b"1"]

        finished: list[tuple[Claimed, bytes, Keep]] = [(job, b'"done"', Keep()) for job in found]
        proxy.drop_replies = True
        with pytest.raises(OutcomeUnknown):
            await finish(link, direct.keys, finished)
        proxy.drop_replies = False
        assert await finish(link, direct.keys, finished) == {0: Refusal.DONE, 1: Refusal.DONE}
        assert (await direct.counts()).completed == 2
    finally:
        await link.close()


@pytest.mark.parametrize("replies", [0, 1, 2, 4, 5])
async def test_a_replay_with_a_lost_reply_runs_no_job_twice(direct: Queue, proxy: Proxy, replies: int) -> None:
    await fail_jobs(direct.link, direct.keys, {f"j{n}": Death(n) for n in range(250)})
    with pytest.raises(DeadLetterNotFound):
        await direct.dead_letters.replay("none")  # the server has the script now, so no NOSCRIPT is what gets lost

    def lose_one(letter: DeadLetter) -> int:
        """Called for each letter, so in the middle."""
        proxy.drop_replies = int(letter.id[1:]) >= DEAD_LETTERS_PER_CALL * replies
        return 1

    async with Queue("q", redis=through(proxy)) as queue:
        with pytest.raises(OutcomeUnknown):
            await queue.dead_letters.replay(everything=True, data=lose_one)
        proxy.drop_replies = False
        report = await queue.dead_letters.replay(everything=True, data=lambda letter: 2)
    # The last call of the first replay was carried out, though nobody was told.
    assert report.count == 250 - DEAD_LETTERS_PER_CALL * (replies + 1)
    waiting = await direct.jobs("waiting", 0, 300)
    assert sorted(job.id for job in waiting) == sorted(f"j{n}" for n in range(250))
    assert sum(job.data == 1 for job in waiting) == DEAD_LETTERS_PER_CALL * (replies + 1)


async def test_a_worker_recovers_a_claim_with_a_lost_reply(direct: Queue, proxy: Proxy) -> None:
    """At once: no sweep can help, since the locks are long. And the job that the same turn handed in, and that is gone since,
    counts as completed."""
    go, starts = asyncio.Event(), Counter[str]()

    async def work(job: Job[int]) -> int:
        starts[job.id] += 1
        await go.wait()
        return job.data

    first = await direct.add("work", 1, remove_on_complete=True)
    second = await direct.add("work", 2)
    worker = Worker("q", work, redis=through(proxy), concurrency=1, lock_duration=600_000)
    async with running(worker):
        await until(lambda: starts[first.id], "the first runs")
        proxy.drop_replies = True
        go.set()
        await until(lambda: _is(second, "active"), "it is claimed")
        proxy.drop_replies = False
        assert await second.result(timeout=8_000) == 2
        await until(lambda: worker.counters.completed + worker.counters.lost == 2, "both are counted")
    assert starts == {first.id: 1, second.id: 1}
    assert worker.counters.lost == 0


async def test_a_marker_whose_reply_is_lost_is_looked_after(direct: Queue, proxy: Proxy) -> None:
    """The server has deleted it, and no other reason to look comes for a minute."""

    async def work(job: Job[int]) -> int:
        return job.data

    worker = Worker("q", work, redis=through(proxy), drain_delay=60_000)
    async with running(worker):
        await until(lambda: worker.counters.turns, "it has looked")
        await until(lambda: _waits_for_a_marker(direct), "it is idle")
        proxy.drop_replies = True
        job = await direct.add("work", 1)
        await until(lambda: _no_marker(direct), "the marker is taken")
        await proxy.reset()
        proxy.drop_replies = False
        assert await job.result(timeout=8_000) == 1


async def test_a_retry_whose_reply_is_lost_is_no_lost_job(direct: Queue, proxy: Proxy) -> None:
    go, heard = asyncio.Event(), list[BaseException]()

    async def work(job: Job[int]) -> int:
        await go.wait()
        if not job.attempts_made:
            raise ValueError("once")
        return job.data

    job = await direct.add("work", 1, attempts=2)
    worker = Worker("q", work, redis=through(proxy), lock_duration=600_000)
    worker.on("error", heard.append)
    async with running(worker):
        await until(lambda: len(worker.running_jobs()) == 1, "it runs")
        proxy.drop_replies = True
        go.set()
        await until(lambda: _tried(direct, job.id), "the server knows that it failed")
        proxy.drop_replies = False
        await until(lambda: worker.counters.retried + worker.counters.lost, "the repeated call is answered")
    assert (worker.counters.retried, worker.counters.lost) == (1, 0)
    assert not [error for error in heard if isinstance(error, LockLost)]


@pytest.mark.slow
async def test_a_worker_with_lost_replies_runs_each_job_once(direct: Queue, proxy: Proxy) -> None:
    starts: Counter[str] = Counter()

    async def work(job: Job[int]) -> int:
        starts[job.id] += 1
        await asyncio.sleep(0.002)
        return job.data

    jobs = await direct.add_many([NewJob("work", n) for n in range(600)])
    async with running(Worker("q", work, redis=through(proxy), concurrency=10)):
        for part in range(1, 5):
            await until(partial(_reached, starts, part * 100), f"{part} hundred jobs were started")
            accepted = proxy.accepted
            proxy.drop_replies = True
            await until(partial(_accepted_more, proxy, accepted), "the worker has given up its line")
            proxy.drop_replies = False
        await until(partial(_completed, direct, len(jobs)), "all jobs are completed", timeout=30)
    assert starts == Counter(job.id for job in jobs), "no job ran twice and none was left out"


def _reached(starts: Counter[str], count: int) -> bool:
    return len(starts) >= count


def _accepted_more(proxy: Proxy, than: int) -> bool:
    return proxy.accepted > than


async def _completed(queue: Queue, count: int) -> bool:
    return (await queue.counts()).completed == count


async def _is(job: Job[Any], state: str) -> bool:
    return await job.state() == state


async def _tried(queue: Queue, id: str) -> bool:
    return bool(await queue.link.call("HGET", queue.keys.job(id), "atm"))


async def _waits_for_a_marker(queue: Queue) -> bool:
    return b"cmd=bzpopmin" in await queue.link.call("CLIENT", "LIST")


async def _no_marker(queue: Queue) -> bool:
    return not await queue.link.call("EXISTS", queue.keys.marker)
