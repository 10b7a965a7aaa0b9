"""Locks and what follows when they end: neither side touches what the other holds, each recovers what the other left, and
no job is finished twice."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from engine import Job, Queue, Worker
from engine.connection import Link
from engine.errors import JobFailed
from engine.model.keys import Keys
from engine.scripts.claim import claim
from engine.scripts.recover_stalled import recover_stalled
from tests.interop.acting import act
from tests.interop.side import PATIENCE, NodeSide
from tests.interop.stream import ends, stored, told
from tests.support.daemons import daemon
from tests.support.running import running, until

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

TOO_OFTEN = "job stalled more than allowable limit"
STALLED = ["added", "waiting", "active waiting", "waiting active", "stalled", "active waiting"]
"""What is told of a job that runs, stalls and runs again: the events, and where it came from."""
LOCK = 400
SWEEP = 100


async def test_nodes_checker_recovers_our_jobs_only_after_a_kill(
    redis_url: str, node: NodeSide, link: Link, tmp_path: Path
) -> None:
    """Then it takes them up again; one that has stalled as often as it may fails, by our record and by Node's."""
    async with Queue("again", redis=redis_url) as again, Queue("never", redis=redis_url) as never:
        jobs = [await queue.add("hold", {"value": 7}) for queue in (again, never)]
        said = f"tests.interop.holder --queue again=1 --queue never=1 --lock-duration {LOCK} --redis {redis_url}"
        with daemon(*said.split(), log=tmp_path / "log") as worker:
            for queue in (again, never):
                await until(lambda queue=queue: _active(queue), "our daemon holds it", timeout=PATIENCE)  # type: ignore[misc]
            for queue, most in ((again, 1), (never, 0)):
                await node.make("Worker", queue.name, queue.name, stalledInterval=50, maxStalledCount=most)
            for queue, job in zip((again, never), jobs, strict=True):
                for _ in range(2):
                    suspect = queue.keys.stalled, job.id
                    await until(lambda suspect=suspect: _is_in(link, *suspect), "node suspects it", timeout=PATIENCE)  # type: ignore[misc]
                    await until(lambda suspect=suspect: _left(link, *suspect), "we renewed it", timeout=PATIENCE)  # type: ignore[misc]
                assert (await stored(queue, job.id)).get("stc") is None
            assert node.told.of("again", "stalled") == node.told.of("never", "stalled") == []
            worker.kill()
        assert await jobs[0].result(timeout=PATIENCE * 1000) == 7
        with pytest.raises(JobFailed, match=TOO_OFTEN):
            await jobs[1].result(timeout=PATIENCE * 1000)
        assert [len(await node.heard(name, "stalled")) for name in ("again", "never")] == [1, 1]
        ran = await stored(again, jobs[0].id)
        assert (ran["stc"], ran["ats"], ran["atm"]) == ("1", "2", "1")
        failed = await stored(never, jobs[1].id)
        assert (failed["stc"], failed["failedReason"], failed.get("defa")) == ("1", TOO_OFTEN, None)
        assert await _history(again) == [*STALLED, "completed active", "drained"]
        assert await _history(never) == [*STALLED, "failed active", "retries-exhausted", "drained"]


async def test_we_recover_what_a_killed_node_worker_left(redis_url: str, node: NodeSide) -> None:
    async with Queue("again", redis=redis_url) as again, Queue("never", redis=redis_url) as never:
        jobs = [await queue.add("n", {"do": "hold", "value": 7}) for queue in (again, never)]
        for queue in (again, never):
            await node.make("Worker", queue.name, queue.name, lockDuration=LOCK, stalledInterval=SWEEP)
            await node.heard(queue.name, "active")
        await node.kill()
        stalled: list[str] = []
        workers = [
            Worker(queue.name, act, redis=redis_url, lock_duration=LOCK, stalled_interval=SWEEP, max_stalled=most)
            for queue, most in ((again, 1), (never, 0))
        ]
        workers[0].on("stalled", stalled.append)
        async with running(workers[0]), running(workers[1]):
            assert await jobs[0].result(timeout=PATIENCE * 1000) == 7
            with pytest.raises(JobFailed, match=TOO_OFTEN):
                await jobs[1].result(timeout=PATIENCE * 1000)
        assert stalled == [jobs[0].id]
        ran = await stored(again, jobs[0].id)
        assert (ran["stc"], ran["ats"], ran["atm"]) == ("1", "2", "1")
        failed = await stored(never, jobs[1].id)
        assert (failed["stc"], failed["failedReason"], failed.get("defa")) == ("1", TOO_OFTEN, None)
        assert await _history(again) == [*STALLED, "completed active", "drained"]
        assert await _history(never) == [*STALLED, "failed active", "retries-exhausted", "drained"]


async def test_a_recent_check_of_one_side_counts_for_both(redis_url: str, node: NodeSide, link: Link) -> None:
    theirs, ours = Keys("theirs"), Keys("ours")
    await node.make("Worker", "theirs", "theirs", stalledInterval=60_000)
    await node.make("Worker", "checker", "ours", autorun=False, stalledInterval=60_000)
    async with Queue("theirs", redis=redis_url) as queue, Queue("ours", redis=redis_url) as other:
        dead = await queue.add("n", {"do": "hold"})
        await node.heard("theirs", "active")
        await link.call("DEL", theirs.lock(dead.id))
        assert await recover_stalled(link, theirs, interval_ms=60_000, max_stalls=1) == []
        assert await dead.state() == "active"
        await link.call("DEL", theirs.stalled_check)
        assert await recover_stalled(link, theirs, interval_ms=60_000, max_stalls=1) == [dead.id]

        assert await recover_stalled(link, ours, interval_ms=60_000, max_stalls=1) == []
        dead = await other.add("n", {})
        await claim(link, ours, token="t", lock_ms=60_000, worker="w", count=1)
        await link.call("DEL", ours.lock(dead.id))
        # Node's check suspects what is active, and takes what it suspected the time before.
        for _ in range(2):
            await node.call("checker", "moveStalledJobsToWait")
        assert not await _is_in(link, ours.stalled, dead.id)
        assert await dead.state() == "active"
        for _ in range(2):
            await link.call("DEL", ours.stalled_check)
            await node.call("checker", "moveStalledJobsToWait")
        assert await dead.state() == "waiting"
        assert (await dead.refresh()).stalls == 1


async def test_node_cannot_finish_a_job_that_we_took_over(redis_url: str, node: NodeSide, link: Link) -> None:
    """While we run it, and after we have run it."""
    go = defaultdict[str, asyncio.Event](asyncio.Event)

    async def ours(job: Job[Any]) -> str:
        await go[job.id].wait()
        return "ours"

    await node.make("Worker", "worker", "q", concurrency=2, skipStalledCheck=True)
    async with Queue("q", redis=redis_url) as queue:
        meanwhile, later = [await queue.add("n", {"do": "hold", "value": "node's"}) for _ in range(2)]
        await node.heard("worker", "active", 2)
        for job in (meanwhile, later):
            await link.call("DEL", queue.keys.lock(job.id))
        async with running(Worker("q", ours, redis=redis_url, lock_duration=LOCK, stalled_interval=SWEEP)):
            for job in (meanwhile, later):
                await until(lambda job=job: _started(queue, job.id, 2), "we took it over", timeout=PATIENCE)  # type: ignore[misc]
            go[later.id].set()
            assert await later.result(timeout=PATIENCE * 1000) == "ours"
            await _released_in_vain(node, later.id, "Missing lock")
            await _released_in_vain(node, meanwhile.id, "Lock mismatch")
            assert await meanwhile.state() == "active"
            go[meanwhile.id].set()
            assert await meanwhile.result(timeout=PATIENCE * 1000) == "ours"
        await _each_finished_once(queue, meanwhile, later)
        assert [(await job.refresh()).return_value for job in (meanwhile, later)] == ["ours"] * 2


async def test_node_without_its_lock_leaves_the_job_to_us(redis_url: str, node: NodeSide, link: Link) -> None:
    await node.make("Worker", "worker", "q", skipStalledCheck=True)
    async with Queue("q", redis=redis_url) as queue:
        job = await queue.add("n", {"do": "hold", "value": "ours"})
        await node.heard("worker", "active")
        await link.call("DEL", queue.keys.lock(job.id))
        await _released_in_vain(node, job.id, "Missing lock")
        assert await job.state() == "active"
        await node.call("worker", "close")
        async with running(Worker("q", act, redis=redis_url, lock_duration=LOCK, stalled_interval=SWEEP)):
            assert await job.result(timeout=PATIENCE * 1000) == "ours"
        await _each_finished_once(queue, job)


async def test_we_cannot_finish_a_job_that_node_took_over(redis_url: str, node: NodeSide, link: Link) -> None:
    """While Node runs it, after Node has run it. Where only its lock is gone and nobody took it, it is still ours."""
    go = defaultdict[str, asyncio.Event](asyncio.Event)

    async def ours(job: Job[Any]) -> str:
        await go[job.id].wait()
        return "ours"

    worker = Worker("q", ours, redis=redis_url, concurrency=2, lock_duration=60_000, stalled_interval=3_600_000)
    async with Queue("q", redis=redis_url) as queue, running(worker):
        kept = await queue.add("n", {})
        await until(worker.running_jobs, "we hold it", timeout=PATIENCE)
        await link.call("DEL", queue.keys.lock(kept.id))
        go[kept.id].set()
        assert await kept.result(timeout=PATIENCE * 1000) == "ours"

        meanwhile, later = [await queue.add("n", {"do": "hold", "value": "node's"}) for _ in range(2)]
        await until(lambda: len(worker.running_jobs()) == 2, "we hold both", timeout=PATIENCE)
        # We sweep nothing, and leave the check to Node.
        seconds, _ = await link.call("TIME")
        await link.call("SET", queue.keys.watch, f"{int(seconds)}000 3600000 0")
        await link.call("DEL", queue.keys.stalled_check)
        for job in (meanwhile, later):
            await link.call("DEL", queue.keys.lock(job.id))
        await node.make("Worker", "worker", "q", concurrency=2, stalledInterval=50)
        await node.heard("worker", "active", 2)
        await node.release(later.id)
        assert await later.result(timeout=PATIENCE * 1000) == "node's"
        for job in (later, meanwhile):
            go[job.id].set()
        await until(lambda: not worker.running_jobs(), "our runs ended", timeout=PATIENCE)
        assert await meanwhile.state() == "active"
        await node.release(meanwhile.id)
        assert await meanwhile.result(timeout=PATIENCE * 1000) == "node's"
        await _each_finished_once(queue, meanwhile, later, kept)
        assert node.told.of("worker", "error") == []


async def _released_in_vain(node: NodeSide, job_id: str, why: str) -> None:
    """Let Node's run of this job end, and see that Node is told that it may not finish it."""
    await node.release(job_id)
    await node.until(
        lambda: any(f"{why} for job {job_id}" in args[0]["message"] for args in node.told.of("worker", "error"))
    )


async def _each_finished_once(queue: Queue, *jobs: Job[Any]) -> None:
    counts = await queue.counts()
    assert (counts.completed, counts.active, counts.waiting, counts.failed) == (len(jobs), 0, 0, 0)
    assert await ends(queue) == {"completed": Counter(job.id for job in jobs), "failed": Counter()}
    assert [(await stored(queue, job.id))["atm"] for job in jobs] == ["1"] * len(jobs)


async def _history(queue: Queue) -> list[str]:
    return [f"{entry['event']} {entry.get('prev', '')}".strip() for entry in await told(queue)]


async def _active(queue: Queue) -> bool:
    return (await queue.counts()).active == 1


async def _started(queue: Queue, job_id: str, times: int) -> bool:
    return bool((await stored(queue, job_id))["ats"] == str(times))


async def _is_in(link: Link, key: str, member: str) -> bool:
    return bool(await link.call("SISMEMBER", key, member))


async def _left(link: Link, key: str, member: str) -> bool:
    return not await _is_in(link, key, member)
