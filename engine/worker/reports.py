"""What a worker reports about its jobs: counters, log lines, listeners. Decides nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import assert_never

from msgspec import Struct

from engine.errors import LockLost
from engine.model.clock import monotonic
from engine.model.records import (
    Completed,
    CompletedAdding,
    Delayed,
    Failed,
    Limited,
    Outcome,
    Released,
    Retrying,
    WaitingChildren,
)
from engine.processor import JobLog
from engine.scripting.rows import Refusal, Refusals
from engine.worker.active_jobs import ActiveJob, StopReason
from engine.worker.listeners import Listeners
from engine.worker.outbox import Ended
from engine.worker.process import stack_dump

logger = logging.getLogger("engine.worker")


class Counters(Struct):
    """What a worker has done since it was created. Written by its event loop."""

    claimed: int = 0
    completed: int = 0
    failed: int = 0
    """Failed with no attempt left."""
    retried: int = 0
    released: int = 0
    limited: int = 0
    """Released because a processor met a rate limit of another service."""
    lost: int = 0
    """Jobs that another claim took over; their results were dropped."""
    stalled: int = 0
    """Stalled jobs of dead workers that this worker recovered."""
    abandoned: int = 0
    """Runs that did not end after they were cancelled; their slots were freed."""
    turns: int = 0
    troubles: int = 0
    snoozed: int = 0
    """Runs that raised Snooze: they run again later and used no attempt."""
    waited: int = 0
    """Runs that ended to wait for children."""


_REPEAT_AFTER = 30.0
_MAX_MESSAGES = 100


class RecentErrors:
    """Which errors were logged in the last 30 s. Shared by the queues of a process, so that many do not log the same."""

    def __init__(self) -> None:
        self._logged: dict[str, float] = {}

    def is_new(self, message: str) -> bool:
        """Whether this message is to be logged now."""
        now = monotonic()
        if now - self._logged.get(message, float("-inf")) <= _REPEAT_AFTER:
            return False
        if len(self._logged) >= _MAX_MESSAGES:
            self._logged.clear()
        self._logged[message] = now
        return True


class Reports:
    """Counts, logs and emits what happened to jobs once Redis has confirmed it, and errors that the worker survives.

    A listener or a log of a processor that raises is logged, and stops nothing.
    """

    def __init__(self, listeners: Listeners) -> None:
        self.counters = Counters()
        self._listeners = listeners
        self._plain = JobLog()
        self.recent_errors = RecentErrors()

    def started(self, active: ActiveJob) -> None:
        """The job's processor is called next."""
        if active.handle is not None:
            try:
                self._log_of(active).log_start(active.handle)
            except Exception:
                self._log_failed(active)
            if self._listeners.has("active"):
                self._listeners.emit("active", active.handle)

    def acknowledged(self, ended: Sequence[Ended[Outcome]], refused: Refusals) -> None:
        """Redis has answered for the outcomes of these jobs."""
        for number, (active, outcome) in enumerate(ended):
            refusal = refused.get(number) if refused else None
            if refusal is None or _was_done_before(active, outcome, refusal):
                try:
                    self._report(active, outcome)
                except Exception:  # of a user's log: the other jobs still have to be reported
                    self._log_failed(active)
            else:
                self.lost(active)
            active.error = None  # its stack refers to the frame that refers to `active`

    def _report(self, active: ActiveJob, outcome: Outcome) -> None:
        counters = self.counters
        match outcome:
            case Completed() | CompletedAdding():
                counters.completed += 1
                job = active.handle
                if job is not None:
                    if self._listeners.has("completed"):
                        self._listeners.emit("completed", job, active.result)
                    self._log_of(active).log_success(job, active.result)
            case Failed():
                counters.failed += 1
                self._report_failure(active, outcome.reason, retry=False)
            case Retrying():
                counters.retried += 1
                self._report_failure(active, outcome.reason, retry=True)
            case Delayed():
                counters.snoozed += 1
            case Limited():
                counters.limited += 1
                if logger.isEnabledFor(logging.INFO):
                    logger.info(
                        "%s job %s met a rate limit; the queue is paused for %d ms",
                        active.claimed.name,
                        active.claimed.id,
                        outcome.wait,
                    )
            case WaitingChildren():
                counters.waited += 1
            case Released():
                counters.released += 1
            case _:
                assert_never(outcome)

    def _report_failure(self, active: ActiveJob, reason: str, *, retry: bool) -> None:
        if active.handle is not None:
            error = active.error if active.error is not None else reason
            self._listeners.emit("failed", active.handle, error)
            self._log_of(active).log_error(active.handle, error, retry=retry)

    def _log_of(self, active: ActiveJob) -> JobLog:
        return active.processor.log if active.processor is not None else self._plain

    def _log_failed(self, active: ActiveJob) -> None:
        logger.exception("the log of %r failed", active.processor)

    def lost(self, active: ActiveJob) -> None:
        """Another claim has this job: the outcome of its run here is dropped."""
        self.counters.lost += 1
        active.stop_reason = StopReason.LOST
        error = LockLost(active.claimed.id)
        logger.warning("%s job %s: its outcome is dropped: %s", active.claimed.name, active.claimed.id, error)
        self._listeners.emit("error", error)

    def abandoned(self, active: ActiveJob, too_many: bool) -> None:
        """A cancelled run does not end: its slot is freed, unless too many such runs go on already."""
        self.counters.abandoned += 1
        logger.error(
            "%s job %s: its run does not end after it was cancelled (%s)%s\n%s",
            active.claimed.name,
            active.claimed.id,
            "its lock is lost" if active.stop_error is None else active.stop_error,
            "; it keeps its slot, because too many runs do not end: find what blocks, and restart the worker"
            if too_many
            else "",
            stack_dump.where(active.task, active.thread),
        )

    def stalled(self, ids: Iterable[str]) -> None:
        for id in ids:
            self.counters.stalled += 1
            logger.warning("job %s stalled: its worker did not renew the lock; it waits to run again", id)
            self._listeners.emit("stalled", id)

    def drained(self) -> None:
        """No job waits any more."""
        self._listeners.emit("drained")

    def trouble(self, error: BaseException) -> None:
        """Something failed and is retried. The same message is logged once in 30 s."""
        self.counters.troubles += 1
        message = f"{type(error).__name__}: {error}"
        if self.recent_errors.is_new(message):
            logger.error("%s (retrying)", message)
        self._listeners.emit("error", error)


def _was_done_before(active: ActiveJob, outcome: Outcome, refusal: Refusal) -> bool:
    """Whether the refusal only says that an earlier send of the same call was carried out."""
    if refusal is Refusal.DONE:
        return True
    # A finished job that is not kept is missing; a job that waits again has no owner any more.
    return active.resent and (
        refusal is Refusal.MISSING or not isinstance(outcome, Completed | CompletedAdding | Failed)
    )
