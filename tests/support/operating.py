"""Everything that an operator can do to a queue and its jobs by public names, in one go: for tests of bad input."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, get_args

from engine import FlowProducer, Job, Queue, errors
from engine.queue import State

ANSWERS = (errors.WrongType, errors.WrongState, errors.JobNotFound, errors.DeadLetterNotFound)
"""What may be said instead of doing it."""


async def operate(queue: Queue, url: str) -> None:
    """Do it all, and obliterate the queue at the end. Any other error is raised."""
    for state in get_args(State):
        for job in await queue.jobs(state):
            await _operate_on(queue, job, url)
    await _tried(queue.dead_letters.adopt())
    await _tried(queue.dead_letters.replay(everything=True))
    for state in get_args(State):
        if state != "waiting-children":
            await _tried(queue.clean(state, limit=0))
    await _tried(queue.dead_letters.purge(everything=True))
    await _tried(queue.remove_deduplication("x"))
    for id in ("s", "gone", "lock", "a:b"):
        await _tried(queue.schedules.remove(id))
    await _tried(queue.drain(delayed=True))
    await queue.pause()
    await queue.obliterate(force=True)


async def _operate_on(queue: Queue, job: Job[Any], url: str) -> None:
    for call in (queue.retry, queue.promote, queue.cancel, job.log, job.update_progress):
        await _tried(call(job.id))
    await _tried(queue.change_priority(job.id, 3))
    await _tried(queue.change_delay(job.id, 5))
    await _tried(job.update_data({}))
    if job.priority % 2:
        await _tried(queue.remove(job.id))
    async with FlowProducer(redis=url) as flows:
        await _tried(flows.remove(queue.name, job.id))


async def _tried(call: Awaitable[Any]) -> None:
    with suppress(*ANSWERS):
        try:
            await call
        except errors.ServerError as error:
            # An id with a colon looks like that of another queue, whose keys nobody can name.
            if "a structure of a queue is not of its type" not in str(error):
                raise
