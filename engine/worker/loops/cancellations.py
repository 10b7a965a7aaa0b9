"""Hears of jobs that this worker runs and that somebody cancelled. Knows where it is written, not how a run is ended."""

from __future__ import annotations

from collections.abc import Callable

from engine.connection import Link
from engine.errors import JobCancelled, failure
from engine.model import wire
from engine.model.keys import Keys
from engine.scripting.key_types import call_typed
from engine.worker.active_jobs import ActiveJob, ActiveJobs
from engine.worker.retry_delay import Report, Service

EVERY = 0.5
"""Seconds between two looks. A message could be lost; what is written stays until it is seen."""


class Cancellations:
    """Looks into `cancelling` while there are jobs, and calls `stop` with a JobCancelled for each of them that is meant.

    The entry only says where to look: the job's hash says whether this very run is meant, or one of an older job of its id.
    """

    def __init__(
        self, link: Link, keys: Keys, holds: ActiveJobs, stop: Callable[[ActiveJob, JobCancelled], None], report: Report
    ) -> None:
        self._link = link
        self._keys = keys
        self._holds = holds
        self._stop = stop
        self._service = Service("cancels", self._turn, report)

    def __repr__(self) -> str:
        return f"<Cancellations {self._service!r}>"

    def start(self) -> None:
        self._service.start()

    async def stop(self) -> None:
        await self._service.stop()

    async def _turn(self) -> float:
        first = 0
        while len(self._holds):
            ids = await call_typed(
                self._link, "zset", "ZRANGE", self._keys.cancelling, first, first + wire.MAX_ROWS - 1
            )
            if ids:
                await self._look({id.decode(errors="replace") for id in ids})
            if len(ids) < wire.MAX_ROWS:
                break
            first += len(ids)
        return EVERY

    async def _look(self, ids: set[str]) -> None:
        meant = [hold for hold in self._holds.all() if hold.claimed.id in ids and hold.stop is None]
        if not meant:
            return
        commands = [("HMGET", self._keys.job(hold.claimed.id), "defa", "ats") for hold in meant]
        for hold, said in zip(meant, await self._link.call_many(commands), strict=True):
            # An error in its place: the hash is no hash any more, which the end of the run will find.
            if not isinstance(said, list) or said[0] is None or said[1] != str(hold.claimed.fence).encode():
                continue
            error = failure(hold.claimed.id, said[0].decode(errors="replace"))
            if isinstance(error, JobCancelled):
                self._stop(hold, error)
