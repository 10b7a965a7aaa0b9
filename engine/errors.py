"""Every exception of the engine, in one tree below CorralError.

Caller's errors: `InvalidInput` and its subclasses; nothing was written.
Job outcomes: `JobFailed`, `UnrecoverableError`, `Retry`, `Snooze`, `RateLimited`, `WaitForChildren`.
Connection errors: `LinkError` and its subclasses; each one says whether the request may have been carried out.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal


class CorralError(Exception):
    """Base class of every exception of the engine."""


# --- caller's errors --------------------------------------------------------------------------------------------------


class InvalidInput(CorralError, ValueError):
    """A wrong argument; nothing was written. The message names the field, the problem and the fix."""


class InvalidName(InvalidInput):
    """A queue name, prefix or job id that BullMQ's key format cannot hold."""


class InvalidOption(InvalidInput):
    """An option that does not exist or has a value outside its range."""


class InvalidData(InvalidInput):
    """Job data, progress or a result that does not fit its type, or that JSON cannot hold."""


class PayloadTooLarge(InvalidInput):
    """Job data larger than the queue's `max_payload` or the job's `size_limit`."""


class UnknownJobType(InvalidInput):
    """A job type that JobQueueService does not have; the message lists those it has."""


class JobNotFound(CorralError, LookupError):
    """No job with this id: it was never added, or it was removed."""

    def __init__(self, job_id: str, queue: str = "") -> None:
        where = f" in queue {queue!r}" if queue else ""
        super().__init__(f"job {job_id!r} not found{where}: it was never added, or it was removed, also by retention")
        self.job_id = job_id


class DeadLetterNotFound(CorralError, LookupError):
    """No dead letter with this job id."""

    def __init__(self, job_id: str, queue: str = "") -> None:
        where = f" in queue {queue!r}" if queue else ""
        super().__init__(
            f"job {job_id!r} has no dead letter{where}: it has not failed for good, or its dead letter was purged or trimmed"
        )
        self.job_id = job_id


class ScheduleNotFound(CorralError, LookupError):
    """No schedule with this id."""

    def __init__(self, schedule_id: str, queue: str = "") -> None:
        where = f" in queue {queue!r}" if queue else ""
        super().__init__(f"schedule {schedule_id!r} not found{where}: it was never added, or it was removed")
        self.schedule_id = schedule_id


class WrongState(CorralError):
    """The job's state does not allow the operation; nothing was written."""


class JobLocked(WrongState):
    """A worker is running the job; nothing was written."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"job {job_id!r} is being run by a worker; wait until it ends, or cancel it first")
        self.job_id = job_id


class MissingExtra(CorralError, ImportError):
    """A feature needs packages that are not installed; the message has the `pip install` command."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs packages that are not installed: pip install 'corral[{extra}]'")
        self.extra = extra


# --- job outcomes -----------------------------------------------------------------------------------------------------


class JobFailed(CorralError):
    """The job failed for good. `reason`: why, as stored with the job."""

    def __init__(self, job_id: str, reason: str) -> None:
        super().__init__(f"job {job_id!r} failed: {reason}")
        self.job_id = job_id
        self.reason = reason


class JobCancelled(JobFailed):
    """The job was cancelled. Raised by `job.result()`, and in a processor whose run is cancelled."""

    def __init__(self, job_id: str, reason: str = "cancelled") -> None:
        CorralError.__init__(self, f"job {job_id!r} was {reason}")
        self.job_id = job_id
        self.reason = reason


class JobTimeout(JobFailed, TimeoutError):
    """An attempt exceeded its `timeout`, or its `heartbeat` interval passed without one. Retried like any failure.

    Raised in the processor, and by `job.result()` if the last attempt ended this way.
    """

    def __init__(self, job_id: str, reason: str = "timed out") -> None:
        CorralError.__init__(self, f"job {job_id!r} {reason}")
        self.job_id = job_id
        self.reason = reason


def failure(job_id: str, reason: str) -> JobFailed:
    """The exception for a job whose stored failure reason is `reason`: JobCancelled, JobTimeout or JobFailed."""
    match reason.partition(": ")[0]:
        case "cancelled":
            return JobCancelled(job_id, reason)
        case "timed out":
            return JobTimeout(job_id, reason)
    return JobFailed(job_id, reason)


class UnrecoverableError(CorralError):
    """Raised by a processor: fail the job for good, even if attempts are left."""


class JobExpired(UnrecoverableError):
    """The job was claimed after its `expires_in` had passed; it was not run."""


class UnknownTask(UnrecoverableError):
    """A generic task names a service, method or function that is not registered."""


class BadParameters(UnrecoverableError):
    """A generic task's parameters do not fit the function's type hints; the message names the parameter."""


class WrongResults(UnrecoverableError):
    """A batch processor did not return one result for each job. Not retried, because the jobs have been run."""


class Retry(CorralError):
    """Returned or raised by a processor: run this job again after `delay`. Uses one attempt.

    `delay` is in milliseconds or a `timedelta`; None uses the job's backoff.
    """

    def __init__(self, delay: int | timedelta | None = None, reason: str = "the processor asked for a retry") -> None:
        super().__init__(reason)
        self.delay = delay
        self.reason = reason


class Snooze(Retry):
    """Returned or raised by a processor: run this job again after `delay`. Uses no attempt.

    For a job that runs too early: a file is not there yet, or an external rate limit is reached. `delay` is in milliseconds
    or a `timedelta`; 0 puts the job behind those that wait now. Raises InvalidOption for anything else. The number of
    snoozes has no limit: `job.attempts_started` counts every run, so that a processor can give up with another error.
    """

    delay: int

    def __init__(self, delay: int | timedelta, reason: str = "the processor asked for a later run") -> None:
        ms = round(delay.total_seconds() * 1000) if isinstance(delay, timedelta) else delay
        if isinstance(ms, bool) or not isinstance(ms, int) or not 0 <= ms <= _TEN_YEARS_MS:
            raise InvalidOption(
                f"Snooze.delay: {delay!r} is not a delay; give whole milliseconds, 0 or more, or a timedelta"
            )
        super().__init__(ms, reason)


_TEN_YEARS_MS = 10 * 366 * 24 * 3600 * 1000


class RateLimited(CorralError):
    """Raised or returned by a processor that hit an external rate limit: run this job again. Uses no attempt.

    `retry_after` is in milliseconds or a `timedelta`. The job returns to the front of the queue, and no worker starts a job
    of this queue until then; with scope="job" only this job waits, as a delayed job.
    """

    def __init__(
        self,
        retry_after: int | timedelta,
        reason: str = "a rate limit was reached",
        *,
        scope: Literal["queue", "job"] = "queue",
    ) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        self.reason = reason
        self.scope = scope


class WaitForChildren(CorralError):
    """Raised by a processor: wait until the job's children are finished, then run the job again. Uses no attempt.

    The children that `job.add_child` collected in this run are added first. If all children are finished already, the job
    runs again at once; a job that then raises this again, with no child finished since, fails.
    """

    def __init__(self) -> None:
        super().__init__("the job waits for its children")


class LockLost(CorralError):
    """This run no longer owns the job: its lock expired, or another worker claimed the job. Nothing was written."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"job {job_id!r} is no longer owned by this run: its lock expired and the job was recovered")
        self.job_id = job_id


# --- connection errors ------------------------------------------------------------------------------------------------


class LinkError(CorralError):
    """Base class of errors between this process and the Redis server."""


class ConnectFailed(LinkError, ConnectionError):
    """No connection could be made; nothing was sent. `transient`: False if another try cannot succeed either."""

    transient = True

    def __init__(self, message: str, *, transient: bool = True) -> None:
        super().__init__(message)
        if not transient:
            self.transient = False


class AuthFailed(ConnectFailed):
    """The server rejected the user name or password."""

    transient = False


class LinkClosed(LinkError, ConnectionError):
    """This process closed the connection; the command was not sent."""


class QueueClosed(LinkClosed):
    """A call after `close()` of a Queue, FlowProducer or the like; nothing was sent. `open()` opens it again."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} was closed; make the call before close(), or open it again with open()")


class OutcomeUnknown(LinkError, ConnectionError):
    """The command was sent and no reply arrived: it may or may not have been carried out. It is never resent."""


class ServerError(LinkError):
    """An error reply of the Redis server. `code` is its first word, such as NOSCRIPT or WRONGTYPE."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = message.partition(" ")[0]


class WrongType(ServerError):
    """A key of the queue has the wrong type, because another program wrote it. Nothing was written; remove the key to repair the queue."""

    def __init__(self, key: str, holds: str, wanted: str) -> None:
        ServerError.__init__(
            self,
            f"WRONGTYPE key {key[:300]!r} holds a {holds} and should be a {wanted}: another program wrote it; "
            f"inspect it, then move it away (RENAME) or delete it (DEL)",
        )
        self.key = key
        self.holds = holds
        self.wanted = wanted


class ServerBusy(ServerError):
    """The server cannot take commands now (LOADING, BUSY, READONLY, OOM and the like); nothing was written. Try again later."""


class ServerUnfit(LinkError):
    """A start-up check found a server on which jobs are not safe; the message says how to fix or override it."""


class ScriptError(CorralError):
    """A script and its binding disagree: a bug of the engine."""
