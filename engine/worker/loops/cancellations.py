"""Finds running jobs of this worker that were cancelled with `Queue.cancel`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from engine.connection import Link
from engine.errors import JobCancelled, failure
from engine.model import wire
from engine.model.keys import Keys
from engine.scripting.key_types import call_typed
from engine.worker.active_jobs import ActiveJob, ActiveJobs
from engine.worker.retry_delay import Report, Service

EVERY = 0.5
"""Seconds between two polls. A message could be lost; the entry stays until the run ends."""


class Cancellations:
    """Polls the key `cancelling` while jobs run, and calls `stop` with a JobCancelled for each that was cancelled.

    An entry has only the id: the job's hash says whether this run was cancelled, or a run of an older job of the same id.
    """

    def __init__(
        self,
        link: Link,
        keys: Keys,
        active_jobs: ActiveJobs,
        stop: Callable[[ActiveJob, JobCancelled], None],
        report: Report,
    ) -> None:
        self._link = link
        self._keys = keys
        self._active_jobs = active_jobs
        self._stop = stop
        self._some_run = asyncio.Event()
        self._service = Service("cancellations", self._turn, report)

    def __repr__(self) -> str:
        return f"<Cancellations {self._service!r}>"

    def start(self) -> None:
        self._service.start()

    async def stop(self) -> None:
        await self._service.stop()

    def jobs_run(self) -> None:
        """There are active jobs."""
        self._some_run.set()

    async def _turn(self) -> float:
        if not len(self._active_jobs):
            self._some_run.clear()
            await self._some_run.wait()
            return EVERY
        first = 0
        while len(self._active_jobs):
            ids = await call_typed(
                self._link, "zset", "ZRANGE", self._keys.cancelling, first, first + wire.MAX_ROWS - 1
            )
            if ids:
                await self._check({id.decode(errors="replace") for id in ids})
            if len(ids) < wire.MAX_ROWS:
                break
            first += len(ids)
        return EVERY

    async def _check(self, ids: set[str]) -> None:
        found = [active for active in self._active_jobs.all() if active.claimed.id in ids and active.stop_error is None]
        if not found:
            return
        commands = [("HMGET", self._keys.job(active.claimed.id), "defa", "ats") for active in found]
        for active, stored in zip(found, await self._link.call_many(commands), strict=True):
            # An error in its place: the hash is no hash any more, which the end of the run will find.
            if not isinstance(stored, list) or stored[0] is None or stored[1] != str(active.claimed.fence).encode():
                continue
            error = failure(active.claimed.id, stored[0].decode(errors="replace"))
            if isinstance(error, JobCancelled):
                self._stop(active, error)
