"""A job in this worker's hands, and the set of all of them. Knows no Redis and runs nothing."""

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
from engine.processor import Processor


class StopReason(Enum):
    """Why this worker itself ends the run of a job."""

    LOST = "lost"
    """Another claim holds the job: nothing is written."""
    RELEASED = "released"
    """The worker stops: the job goes back in line and uses no attempt."""


class ActiveJob:
    """One job from its claim until Redis has taken its outcome. Written by the worker's loop only.

    number: rises with each claim of this worker. started: its function was called. why: set before a run is cut short.
    stop: what its end is, once the run was told to stop for itself: JobCancelled or JobTimeout. timers: cancelled at its end.
    thread: the identity of the thread that runs its function.
    outcome: set once, when the job leaves the runner or is given up; what comes later is dropped.
    resent: a call with this outcome may have been carried out already.
    """

    __slots__ = ("claimed", "error", "handle", "number", "options", "outcome", "processor", "resent", "result", "since",
                 "started", "stop", "task", "thread", "timers", "why")  # fmt: skip

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
        self.why: StopReason | None = None
        self.stop: JobCancelled | JobTimeout | None = None
        self.timers: dict[str, asyncio.TimerHandle] | None = None
        self.thread: int | None = None
        self.task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        state = "lost" if self.why is StopReason.LOST else type(self.outcome).__name__ if self.outcome else "running"
        return f"<ActiveJob {self.claimed.name} {self.claimed.id} {state}, {monotonic() - self.since:.1f} s>"

    @property
    def attempts(self) -> int:
        """Runs that the job is allowed in all: its own word, else its processor's, else one."""
        return self.options.attempts or (self.processor.attempts if self.processor else 0) or 1

    def time(self, what: str, timer: asyncio.TimerHandle) -> None:
        """Keep a timer, to be cancelled when the run ends."""
        if self.timers is None:
            self.timers = {}
        self.timers[what] = timer

    def untime(self) -> None:
        for timer in (self.timers or {}).values():
            timer.cancel()
        self.timers = None


class ActiveJobs:
    """Every job whose lock this worker has to keep. The worker's loop writes; the renewer's thread reads."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._holds: set[ActiveJob] = set()

    def __repr__(self) -> str:
        return f"<ActiveJobs {len(self._holds)}>"

    def __len__(self) -> int:
        return len(self._holds)

    def __contains__(self, hold: ActiveJob) -> bool:
        return hold in self._holds

    def take(self, holds: Iterable[ActiveJob]) -> None:
        with self._guard:
            self._holds.update(holds)

    def drop(self, holds: Iterable[ActiveJob]) -> None:
        with self._guard:
            self._holds.difference_update(holds)

    def all(self) -> list[ActiveJob]:
        """All of them at this moment, the longest held first."""
        with self._guard:
            holds = list(self._holds)
        holds.sort(key=lambda hold: hold.number)
        return holds
