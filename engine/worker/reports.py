"""What the worker tells: its counters, the log lines of jobs, listeners, troubles. Decides nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from msgspec import Struct

from engine.errors import LockLost
from engine.model.clock import monotonic
from engine.model.records import Completed, CompletedAdding, Delayed, Failed, Limited, Retrying, WaitingChildren
from engine.processor import JobLog
from engine.scripting.rows import Refusal, Refusals
from engine.worker.active_jobs import ActiveJob, StopReason
from engine.worker.listeners import Listeners
from engine.worker.process import stack_dump

logger = logging.getLogger("engine.worker")
_REPEAT_AFTER = 30.0


class Counters(Struct):
    """What a worker did since it was made. Written by its loop."""

    claimed: int = 0
    completed: int = 0
    failed: int = 0
    """Failed for good."""
    retried: int = 0
    released: int = 0
    limited: int = 0
    """Given back because a processor met somebody's rate limit."""
    lost: int = 0
    """Jobs that another claim took over; their results were dropped."""
    stalled: int = 0
    """Jobs of dead workers that this one put back in line."""
    abandoned: int = 0
    """Runs that did not end when told to stop; their slots were freed."""
    turns: int = 0
    troubles: int = 0
    snoozed: int = 0
    """Runs that asked for a later one and used no attempt."""
    waited: int = 0
    """Runs that ended to wait for children."""


class Reports:
    """Counts and tells what became of jobs, once Redis has taken it, and of troubles that the worker lives through."""

    def __init__(self, listeners: Listeners) -> None:
        self.counters = Counters()
        self._listeners = listeners
        self._plain = JobLog()
        self._last_trouble = ("", 0.0)

    def started(self, hold: ActiveJob) -> None:
        """The job's processor is called next."""
        if hold.handle is not None:
            try:
                self._log_of(hold).log_start(hold.handle)
            except Exception:
                self._log_failed(hold)
            if self._listeners.has("active"):
                self._listeners.tell("active", hold.handle)

    def settled(self, holds: Sequence[ActiveJob], refused: Refusals) -> None:
        """Redis has answered for the outcomes of these jobs."""
        for number, hold in enumerate(holds):
            refusal = refused.get(number) if refused else None
            if refusal is None or _was_done_before(hold, refusal):
                self._taken(hold)
            else:
                self.lost(hold)
            hold.error = None  # its stack holds the frame that holds this

    def _taken(self, hold: ActiveJob) -> None:
        """Count and tell. A user's log that raises must not hold up the jobs beside it."""
        try:
            self._tell(hold)
        except Exception:
            self._log_failed(hold)

    def _tell(self, hold: ActiveJob) -> None:
        counters, outcome, job = self.counters, hold.outcome, hold.handle
        match outcome:
            case Completed() | CompletedAdding():
                counters.completed += 1
                if job is not None:
                    if self._listeners.has("completed"):
                        self._listeners.tell("completed", job, hold.result)
                    self._log_of(hold).log_success(job, hold.result)
            case Failed() | Retrying():
                again = isinstance(outcome, Retrying)
                if again:
                    counters.retried += 1
                else:
                    counters.failed += 1
                if job is not None:
                    error = hold.error if hold.error is not None else outcome.reason
                    self._listeners.tell("failed", job, error)
                    self._log_of(hold).log_error(job, error, retry=again)
            case Delayed():
                counters.snoozed += 1
            case Limited():
                counters.limited += 1
                if logger.isEnabledFor(logging.INFO):
                    logger.info(
                        "%s job %s met a rate limit; the queue holds still for %d ms",
                        hold.claimed.name,
                        hold.claimed.id,
                        outcome.wait,
                    )
            case WaitingChildren():
                counters.waited += 1
            case _:
                counters.released += 1

    def _log_of(self, hold: ActiveJob) -> JobLog:
        return hold.processor.log if hold.processor is not None else self._plain

    def _log_failed(self, hold: ActiveJob) -> None:
        logger.exception("the log of %r failed", hold.processor)

    def lost(self, hold: ActiveJob) -> None:
        """Another claim has this job: its run here was for nothing."""
        self.counters.lost += 1
        hold.why = StopReason.LOST
        error = LockLost(hold.claimed.id)
        logger.warning("%s job %s: its result is dropped: %s", hold.claimed.name, hold.claimed.id, error)
        self._listeners.tell("error", error)

    def abandoned(self, hold: ActiveJob, too_many: bool) -> None:
        """A run that was told to stop goes on: its slot is free, unless there are too many of them already."""
        self.counters.abandoned += 1
        logger.error(
            "%s job %s: its run does not end when told to (%s)%s\n%s",
            hold.claimed.name,
            hold.claimed.id,
            "its lock is lost" if hold.stop is None else hold.stop,
            "; as too many do not, it keeps its slot: look for what blocks, and restart the worker" if too_many else "",
            stack_dump.where(hold.task, hold.thread),
        )

    def stalled(self, ids: Iterable[str]) -> None:
        for id in ids:
            self.counters.stalled += 1
            logger.warning("job %s stalled: its worker let the lock end; it is back in line", id)
            self._listeners.tell("stalled", id)

    def drained(self) -> None:
        """No job is in line any more."""
        self._listeners.tell("drained")

    def trouble(self, error: BaseException) -> None:
        """Something failed and is tried again. The same words are logged once in 30 s."""
        self.counters.troubles += 1
        said, at = self._last_trouble
        words, now = f"{type(error).__name__}: {error}", monotonic()
        if words != said or now - at > _REPEAT_AFTER:
            self._last_trouble = words, now
            logger.error("%s (trying again)", words)
        self._listeners.tell("error", error)


def _was_done_before(hold: ActiveJob, refusal: Refusal) -> bool:
    """Whether an earlier send of the same call explains the refusal."""
    if refusal is Refusal.DONE:
        return True
    # A job that was dropped when it ended is missing; one that went back in line has no owner any more.
    return hold.resent and (
        refusal is Refusal.MISSING or not isinstance(hold.outcome, Completed | CompletedAdding | Failed)
    )
