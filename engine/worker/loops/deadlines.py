"""Limits of a run's time, for the jobs and processors that have one. Knows when a run is over its limit, not how it ends."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

from engine.errors import JobTimeout
from engine.job import silence
from engine.worker.active_jobs import ActiveJob


class Deadlines:
    """Calls `stop` with a JobTimeout when a run has taken too long, or was silent for too long."""

    def __init__(self, stop: Callable[[ActiveJob, JobTimeout], None]) -> None:
        self._stop = stop
        self._context = contextvars.copy_context()  # lest a timer runs in that of a job
        self._loop = asyncio.get_running_loop()

    def watch(self, hold: ActiveJob) -> None:
        """Time a run that starts now, if it has a limit. The job's own timeout goes before its processor's."""
        processor = hold.processor
        assert processor is not None
        timeout = hold.options.timeout or processor.timeout
        if timeout is not None:
            late = JobTimeout(hold.claimed.id, f"timed out: the attempt took longer than its timeout of {timeout:,} ms")
            hold.time("timeout", self._after(timeout / 1000, self._stop, hold, late))
        if processor.heartbeat is not None:
            assert hold.handle is not None
            hold.handle.heartbeat()
            hold.time("heartbeat", self._after(processor.heartbeat / 1000, self._listen, hold, processor.heartbeat))

    def _listen(self, hold: ActiveJob, limit: int) -> None:
        assert hold.handle is not None
        left = limit / 1000 - silence(hold.handle)
        if left > 0:
            hold.time("heartbeat", self._after(left, self._listen, hold, limit))
        else:
            reason = f"timed out: no heartbeat for {limit:,} ms, the run counts as hung"
            self._stop(hold, JobTimeout(hold.claimed.id, reason))

    def _after(self, seconds: float, what: Callable[..., None], *about: Any) -> asyncio.TimerHandle:
        return self._loop.call_later(seconds, what, *about, context=self._context)
