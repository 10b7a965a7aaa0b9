"""ActiveJob: one job between its claim and its acknowledgement; ActiveJobs: all of them in this worker."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from enum import Enum
from typing import Any

from engine.errors import JobCancelled, JobTimeout
from engine.job import Job
from engine.model.clock import monotonic
from engine.model.options import NO_OPTIONS, JobOptions
from engine.model.records import Claimed, Outcome
from engine.processor import Processor, RunIn


class StopReason(Enum):
    """Why this worker itself ends the run of a job."""

    LOST = "lost"
    """Another claim holds the job: nothing is written."""
    RELEASED = "released"
    """The worker stops: the job returns to the queue and uses no attempt."""


class ActiveJob:
    """One job from its claim until Redis has taken its outcome. Written by the worker's loop only.

    claimed: the fields of its hash, undecoded. handle: the Job that its function gets.
    number: rises with each claim of this worker. started: its function was called.
    stop_reason: why the worker ends the run without an outcome of its own; set before the run is cancelled.
    stop_error: JobCancelled or JobTimeout, once the run was cancelled with one of them; the run then ends with it.
    timers: cancelled when the run ends. thread: identity of the thread that runs its function.
    outcome: set once, when the run ends or is given up; later outcomes are dropped.
    resent: a call with this outcome may have been carried out already.
    """

    __slots__ = ("claimed", "error", "handle", "number", "options", "outcome", "processor", "resent", "result", "since",
                 "started", "stop_error", "stop_reason", "task", "thread", "timers")  # fmt: skip

    def __init__(self, claimed: Claimed, number: int, since: float) -> None:
        self.claimed = claimed
        self.number = number
        self.since = since
        self.started = False
        self.resent = False
        self.options: JobOptions = NO_OPTIONS
        self.processor: Processor[Any, Any] | None = None
        self.handle: Job[Any, Any] | None = None
        self.result: Any = None
        self.error: BaseException | None = None
        self.outcome: Outcome | None = None
        self.stop_reason: StopReason | None = None
        self.stop_error: JobCancelled | JobTimeout | None = None
        self.timers: dict[str, asyncio.TimerHandle] | None = None
        self.thread: int | None = None
        self.task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        state = type(self.outcome).__name__ if self.outcome else "running"
        if self.stop_reason is StopReason.LOST:
            state = "lost"
        return f"<ActiveJob {self.claimed.name} {self.claimed.id} {state}, {monotonic() - self.since:.1f} s>"

    @property
    def run_in(self) -> RunIn:
        return self.processor.run_in if self.processor else "loop"

    @property
    def attempts(self) -> int:
        """Runs that the job is allowed in all: its own option, else its processor's, else one."""
        return self.options.attempts or (self.processor.attempts if self.processor else 0) or 1

    def add_timer(self, what: str, timer: asyncio.TimerHandle) -> None:
        """Keep a timer, to be cancelled when the run ends."""
        if self.timers is None:
            self.timers = {}
        self.timers[what] = timer

    def cancel_timers(self) -> None:
        for timer in (self.timers or {}).values():
            timer.cancel()
        self.timers = None


class ActiveJobs:
    """Every job whose lock this worker has to renew. The worker's loop writes; the renewer's thread reads."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._active_jobs: set[ActiveJob] = set()

    def __repr__(self) -> str:
        return f"<ActiveJobs {len(self._active_jobs)}>"

    def __len__(self) -> int:
        return len(self._active_jobs)

    def __contains__(self, active: ActiveJob) -> bool:
        return active in self._active_jobs

    def take(self, active_jobs: Iterable[ActiveJob]) -> None:
        with self._guard:
            self._active_jobs.update(active_jobs)

    def drop(self, active_jobs: Iterable[ActiveJob]) -> None:
        with self._guard:
            self._active_jobs.difference_update(active_jobs)

    def all(self) -> list[ActiveJob]:
        """All of them now, the first claimed first."""
        with self._guard:
            active_jobs = list(self._active_jobs)
        active_jobs.sort(key=lambda active: active.number)
        return active_jobs
