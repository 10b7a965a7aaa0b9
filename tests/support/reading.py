"""Everything that can be read of a queue by public names, in one go: for tests of what reading comes to on bad input."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, get_args

from engine import FlowProducer, Job, Queue, QueueEvents, errors
from engine.dead_letters import Group
from engine.queue import State


async def read_everything(queue: Queue, url: str) -> int:
    """Read it; how many jobs were shown. An error that names a foreign key is an answer; any other is raised."""
    shown = 0
    for state in get_args(State):
        await answered(queue.counts_per_type(state))
        for job in await queue.jobs(state):
            shown += 1
            await _read_job(queue, job)
    for asked in (
        queue.counts(), queue.counts_per_priority(), queue.oldest_waiting(), queue.metrics("completed"), queue.metrics("failed"),
        queue.is_paused(), queue.rate_limit(), queue.rate_limit_ttl(), queue.concurrency(), queue.deduplication_job_id("x"),
        queue.schedules.list(), *(queue.schedules.get(id) for id in ("s", "gone", "a:b", "lock")),
        queue.dead_letters.list(), queue.dead_letters.list(replayed=True), queue.dead_letters.count(text="x"),
        *(queue.dead_letters.groups(by) for by in get_args(Group)),
    ):  # fmt: skip
        await answered(asked)
    await _read_events(queue.name, url)
    return shown


async def answered(asked: Awaitable[Any]) -> None:
    with suppress(errors.WrongType):
        await asked


async def _read_job(queue: Queue, job: Job[Any]) -> None:
    assert repr((job, job.opts, job.tenant, job.data, job.timestamp))
    for asked in (job.state(), job.children_values(), job.ignored_failures(), queue.logs(job.id)):
        await answered(asked)
    if job.id:
        await answered(queue.dead_letters.get(job.id))
    assert queue._shared.link is not None
    await answered(FlowProducer(link=queue._shared.link).get(queue.name, job.id))
    if await queue.get_job(job.id) is not None:
        await job.refresh()


async def _read_events(name: str, url: str) -> None:
    async with QueueEvents(name, redis=url) as events:
        await _open_end(events)


async def _open_end(events: QueueEvents) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(0.05):
            async for event in events.events("0"):
                assert repr((event, event.at))
