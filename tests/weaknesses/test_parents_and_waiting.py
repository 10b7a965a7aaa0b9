"""Rows 15 to 17: parents of removed children, retries of failed children, waiting for results."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from engine import FlowJob, FlowProducer, Job, Queue, Worker
from engine.errors import JobNotFound
from tests.support.running import running, until

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])


async def echo(job: Job[Any]) -> Any:
    if job.data == "fail" and job.attempts_made == 0:
        raise ValueError("no")
    return job.data


async def _obliterate(queue: Queue) -> None:
    await queue.pause()
    await queue.obliterate()


GOES: dict[str, Callable[[Queue], Awaitable[Any]]] = {
    "removed": lambda queue: queue.remove("c"),
    "drained": lambda queue: queue.drain(),
    "cleaned": lambda queue: queue.clean("waiting"),
    "obliterated": _obliterate,
}


@pytest.mark.parametrize("how", GOES)
async def test_row_15_a_parent_does_not_wait_for_a_removed_child(redis_url: str, how: str) -> None:
    """However it went. A child that failed without a policy is still waited for: it can be run again or removed."""
    async with FlowProducer(redis=redis_url) as flows, Queue("down", redis=redis_url) as queue:
        flow = await flows.add(FlowJob("up", "up", 1, children=[FlowJob("x", "down", job_id="c")]))
        async with running(Worker("up", echo, redis=redis_url)):
            assert await flow.job.state() == "waiting-children"
            await GOES[how](queue)
            assert await flow.job.result(timeout=20_000) == 1


@pytest.mark.parametrize(
    "policy", ["ignore_dependency_on_failure", "continue_parent_on_failure", "remove_dependency_on_failure"]
)
async def test_row_16_a_failed_child_can_be_retried(redis_url: str, policy: str) -> None:
    """BullMQ answers WRONGTYPE to some of these, and leaves the child half moved."""
    async with FlowProducer(redis=redis_url) as flows, Queue("down", redis=redis_url) as queue:
        options: dict[str, Any] = {policy: True}
        children = [FlowJob("x", "down", "fail", **options)]
        flow = await flows.add(FlowJob("up", "up", 1, children=children))
        child = flow.children[0].job
        async with running(Worker("up", echo, redis=redis_url)), running(Worker("down", echo, redis=redis_url)):
            assert await flow.job.result(timeout=20_000) == 1
            await until(lambda: _is(child, "failed"), "the child has failed")
            await queue.retry(child.id)
            await until(lambda: _is(child, "completed"), "it ran again", timeout=20)
        assert (await queue.counts()).failed == 0


async def test_row_17_waiting_for_a_result_always_ends(redis_url: str) -> None:
    """Those who wait hear of removals, ask every second, and dial anew."""
    async with Queue("q", redis=redis_url) as queue:
        gone, missed = await queue.add("x"), await queue.add("x", 1)
        removed, waiting = (asyncio.create_task(job.result(timeout=20_000)) for job in (gone, missed))
        await asyncio.sleep(0)
        await queue.remove(gone.id)
        with pytest.raises(JobNotFound):
            await removed
        # The line of those who listen is cut, and the stream is emptied again and again.
        await queue.link.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        async with running(Worker("q", echo, redis=redis_url)):
            while not waiting.done():
                await queue.link.call("XTRIM", queue.keys.events, "MAXLEN", 0)
                await asyncio.sleep(0)
        assert await waiting == 1


async def _is(job: Job[Any], state: str) -> bool:
    return await job.state() == state
