"""Timeouts and heartbeats of running jobs."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

from engine.errors import JobTimeout
from engine.job import silence
from engine.worker.active_jobs import ActiveJob


class Deadlines:
    """Calls `stop` with a JobTimeout when a run exceeds its timeout, or sends no heartbeat for too long."""

    def __init__(self, stop: Callable[[ActiveJob, JobTimeout], None]) -> None:
        self._stop = stop
        self._context = contextvars.copy_context()  # timers must not inherit a job's
        self._loop = asyncio.get_running_loop()

    def watch(self, active: ActiveJob) -> None:
        """Time a run that starts now, if it has a limit. The job's own timeout takes precedence over its processor's."""
        processor = active.processor
        assert processor is not None
        timeout = active.options.timeout or processor.timeout
        if timeout is not None:
            error = JobTimeout(
                active.claimed.id, f"timed out: the attempt took longer than its timeout of {timeout:,} ms"
            )
            active.add_timer("timeout", self._after(timeout / 1000, self._stop, active, error))
        if processor.heartbeat is not None:
            assert active.handle is not None
            active.handle.heartbeat()
            active.add_timer(
                "heartbeat", self._after(processor.heartbeat / 1000, self._listen, active, processor.heartbeat)
            )

    def _listen(self, active: ActiveJob, limit: int) -> None:
        assert active.handle is not None
        left = limit / 1000 - silence(active.handle)
        if left > 0:
            active.add_timer("heartbeat", self._after(left, self._listen, active, limit))
        else:
            reason = f"timed out: no heartbeat for {limit:,} ms, the run counts as hung"
            self._stop(active, JobTimeout(active.claimed.id, reason))

    def _after(self, seconds: float, what: Callable[..., None], *about: Any) -> asyncio.TimerHandle:
        return self._loop.call_later(seconds, what, *about, context=self._context)
