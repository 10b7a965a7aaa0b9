"""Blocking code: SyncQueue for Flask, Django and scripts."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from engine import FlowJob, Job, NewJob, SyncQueue, Worker, events
from engine.errors import InvalidOption
from tests.support.running import running


async def echo(job: Job[object]) -> object:
    if isinstance(job.data, dict):
        raise ValueError(f"part {job.data['part']} is broken")
    return job.data


async def test_a_blocking_queue_adds_and_waits(redis_url: str) -> None:
    def view() -> list[object]:
        with SyncQueue("q", redis=redis_url) as queue:
            jobs = [queue.add("echo", "one"), *queue.add_many([NewJob("echo", n) for n in range(3)])]
            counts = queue.counts()
            assert counts.waiting + counts.active + counts.completed == 4
            with pytest.raises(InvalidOption):
                queue.add("echo", priority=-1)
            return [job.result(timeout=10_000) for job in jobs]

    async with running(Worker("q", echo, redis=redis_url)):
        assert await asyncio.to_thread(view) == ["one", 0, 1, 2]


async def test_letters_schedules_flows_and_events_block_too(redis_url: str) -> None:
    def script() -> list[str | None]:
        with SyncQueue("q", redis=redis_url) as queue, queue.events(names=["failed", "completed"]) as stream:
            with pytest.raises(TimeoutError):
                stream.next(timeout=10)

            bad = queue.add("break", {"part": 7})
            assert isinstance(next(stream), events.Failed)
            assert queue.dead_letters.groups("error") == {"ValueError": 1}
            assert [letter.id for letter in queue.dead_letters.list(error="ValueError")] == [bad.id]
            assert queue.dead_letters.replay(type="break", data=lambda _: "mended").count == 1
            assert bad.result(timeout=10_000) == "mended"

            queue.schedules.upsert("daily", "echo", "soup", cron="0 12 * * *")
            assert [schedule.id for schedule in queue.schedules.list()] == ["daily"]
            assert queue.schedules.run_now("daily").result(timeout=10_000) == "soup"
            assert queue.schedules.remove("daily")

            flow = queue.flows.add(FlowJob("echo", "q", "top", children=[FlowJob("echo", "q", "below")]))
            assert flow.job.result(timeout=10_000) == "top"
            found = queue.flows.get("q", flow.job.id)
            assert found is not None
            assert [node.job.data for node in found.children] == ["below"]
            assert queue.flows.remove("q", flow.job.id)
            return [event.job_id for _, event in zip(range(4), stream, strict=False)]

    async with running(Worker("q", echo, redis=redis_url)):
        assert len(await asyncio.to_thread(script)) == 4


def test_threads_share_one_blocking_queue(redis_url: str) -> None:
    with SyncQueue("q", redis=redis_url) as queue:
        threads = [threading.Thread(target=queue.add, args=("echo", n)) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert queue.counts().waiting == 20


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_connects_anew(redis_url: str) -> None:
    with SyncQueue("q", redis=redis_url) as queue:
        queue.add("echo", "parent")
        pid = os.fork()
        if pid == 0:
            queue.add("echo", "child")
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert sorted(job.data for job in queue.jobs("waiting")) == ["child", "parent"]
