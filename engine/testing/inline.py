"""Inline mode: `queue.add` runs the job before it returns."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from typing import Any

from msgspec import UNSET

from engine.connection import Link
from engine.errors import JobFailed, JobNotFound, RateLimited, Snooze, WrongState
from engine.job import Job, show_result
from engine.model.clock import monotonic
from engine.model.keys import Keys
from engine.model.options import Keep
from engine.model.records import (
    Completed,
    CompletedAdding,
    D,
    Delayed,
    Failed,
    Limited,
    NewJob,
    R,
    Released,
    Retrying,
    WaitingChildren,
)
from engine.processor import as_processor
from engine.queue import Queue
from engine.scripts.claim import claim
from engine.scripts.fail import fail
from engine.scripts.finish import finish
from engine.scripts.finish_adding import finish_adding
from engine.scripts.promote_one import promote_one
from engine.scripts.release import release
from engine.scripts.wait_children import wait_children
from engine.worker.active_jobs import ActiveJob
from engine.worker.listeners import Listeners
from engine.worker.loops.scheduling import Scheduling
from engine.worker.reports import Reports
from engine.worker.run_in.children import Children
from engine.worker.run_in.threads import Threads
from engine.worker.runner import Routes, Runner

_LOCK_MS = 3_600_000
"""These locks are not renewed, and a debugger may stop a job for long."""


class KitQueue(Queue):
    """A Queue whose `add` and `add_many` run the job at once while `inline` is set."""

    inline: Inline | None = None

    async def add(self, name: Any, data: Any = UNSET, **options: Any) -> Job[Any, Any]:
        job: Job[Any, Any] = await super().add(name, data, **options)
        return job if self.inline is None else await self.inline.run(job)

    async def add_many(self, jobs: Iterable[NewJob[D, R]]) -> list[Job[D, R]]:
        added = await super().add_many(jobs)
        if self.inline is not None:
            for job in added:
                await self.inline.run(job)
        return added


class Inline:
    """Runs jobs in the task that adds them, as a worker does, but without retries.

    A job that waits for children stays in `waiting-children`.
    """

    def __init__(self, link: Link, keys: Keys, processors: Sequence[Any], stack: AsyncExitStack) -> None:
        self._link = link
        self._keys = keys
        threads, children, listeners = Threads(f"{keys.queue} job"), Children(1), Listeners()
        reports = Reports(listeners)
        stack.callback(threads.stop)
        stack.push_async_callback(children.stop)
        self._runner = Runner(
            Routes([as_processor(one) for one in processors]),
            link,
            keys,
            threads=threads,
            children=children,
            backoffs={},
            listeners=listeners,
            reports=reports,
            scheduling=Scheduling(link, keys, interval_ms=_LOCK_MS, report=reports.trouble),
            watch=lambda active: None,  # no timeouts: only the caller can stop it
        )

    async def run(self, job: Job[D, R]) -> Job[D, R]:
        """Run the job, and the jobs before it. Raises what the processor raises."""
        state = await job.state()
        if state == "delayed":
            await promote_one(self._link, self._keys, id=job.id)
        elif state not in ("waiting", "prioritized"):
            return job  # a job with its id existed, and has been run
        while True:
            token = secrets.token_hex(8)
            claims = await claim(self._link, self._keys, token=token, lock_ms=_LOCK_MS, worker="inline", count=1)
            if not claims.jobs:
                raise WrongState(
                    f"job {job.id!r} cannot run inline: the queue is paused, or its concurrency limit is reached; resume it or raise the limit"
                )
            active = ActiveJob(claims.jobs[0], 0, monotonic())
            await self._settle(active)
            if active.claimed.id == job.id:
                return await _finished(job, active)

    async def _settle(self, active: ActiveJob) -> None:
        outcome = await self._runner.run(active)
        link, keys = self._link, self._keys
        match outcome:
            case Completed(value):
                keep = active.options.remove_on_complete
                await finish(link, keys, [(active.claimed, value, Keep() if keep is None else keep)])
            case CompletedAdding(value, nodes):
                keep = active.options.remove_on_complete
                await finish_adding(link, keys, (active.claimed, value, Keep() if keep is None else keep), nodes)
            case WaitingChildren(children):
                await wait_children(link, keys, active.claimed, children)
            case Released():
                await release(link, keys, [active.claimed])
                raise asyncio.CancelledError
            case Delayed(delay):
                await release(link, keys, [active.claimed])
                raise Snooze(delay)
            case Limited(wait):
                await release(link, keys, [active.claimed])
                raise RateLimited(wait)
            case Failed() | Retrying():
                keep = active.options.remove_on_fail
                failed = Failed(outcome.reason, outcome.stacktrace, outcome.error)
                await fail(link, keys, [(active.claimed, failed, Keep() if keep is None else keep, active.attempts)])
                raise active.error or JobFailed(active.claimed.id, outcome.reason)


async def _finished(job: Job[D, R], active: ActiveJob) -> Job[D, R]:
    try:
        await job.refresh()
    except JobNotFound:  # it was not kept
        show_result(job, active.result)
    return job
