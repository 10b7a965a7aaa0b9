"""Every exception of the engine, in one tree below `CorralError`.

Wrong arguments: `InvalidInput` and its subclasses; nothing was written.
Jobs: `JobFailed` and its subclasses; `UnrecoverableError`, `Retry`, `Snooze`, `RateLimited`, `WaitForChildren` for processors.
Connections: `LinkError` and its subclasses; whether the command was carried out, each one says.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal


class CorralError(Exception):
    """Base class of all exceptions of the engine."""


# --- wrong arguments --------------------------------------------------------------------------------------------------


class InvalidInput(CorralError, ValueError):
    """An argument is wrong; the message names the field, the problem and the fix. Nothing was written."""


class InvalidName(InvalidInput):
    """A queue name, prefix, job id or schedule id that cannot be part of a Redis key."""


class InvalidOption(InvalidInput):
    """An option that does not exist, or has a value of the wrong type or outside its range."""


class InvalidData(InvalidInput):
    """Job data, progress or a result that does not match its type, or has no form in JSON."""


class PayloadTooLarge(InvalidInput):
    """Job data larger than the queue's or the job's size limit."""


class UnknownJobType(InvalidInput):
    """A job type that the service does not know."""


class JobNotFound(CorralError, LookupError):
    """No job has this id: it was never added, or it was removed."""

    def __init__(self, job_id: str, queue: str = "") -> None:
        where = f" in queue {queue!r}" if queue else ""
        super().__init__(
            f"job {job_id!r} does not exist{where}: it was never added, or it was removed or trimmed by retention"
        )
        self.job_id = job_id


class LetterNotFound(CorralError, LookupError):
    """The job of this id has no dead letter."""

    def __init__(self, job_id: str, queue: str = "") -> None:
        where = f" in queue {queue!r}" if queue else ""
        super().__init__(
            f"job {job_id!r} has no dead letter{where}: it has not failed for good, or its dead letter was purged or trimmed"
        )
        self.job_id = job_id


class ScheduleNotFound(CorralError, LookupError):
    """No schedule has this id."""

    def __init__(self, schedule_id: str, queue: str = "") -> None:
        where = f" in queue {queue!r}" if queue else ""
        super().__init__(f"schedule {schedule_id!r} does not exist{where}: it was never added, or it was removed")
        self.schedule_id = schedule_id


class WrongState(CorralError):
    """The job's or the queue's state does not allow the operation; nothing was written."""


class JobLocked(WrongState):
    """A worker is running the job; nothing was written."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"job {job_id!r} is being run by a worker; wait until it has finished, or cancel it first")
        self.job_id = job_id


class MissingExtra(CorralError, ImportError):
    """An optional part of the engine was used whose packages are not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs packages that are not installed: pip install 'corral[{extra}]'")
        self.extra = extra


# --- jobs -------------------------------------------------------------------------------------------------------------


class JobFailed(CorralError):
    """The job failed for good. `reason` is the stored reason."""

    def __init__(self, job_id: str, reason: str) -> None:
        super().__init__(f"job {job_id!r} failed: {reason}")
        self.job_id = job_id
        self.reason = reason


class JobCancelled(JobFailed):
    """The job was cancelled. Raised by `result()`, and inside the processor of a running job that is cancelled."""

    def __init__(self, job_id: str, reason: str = "cancelled") -> None:
        CorralError.__init__(self, f"job {job_id!r} was {reason}")
        self.job_id = job_id
        self.reason = reason


class JobTimeout(JobFailed, TimeoutError):
    """The attempt exceeded its timeout, or sent no heartbeat for too long. Retried like any failure.

    Raised inside the processor, and by `result()` if the job's last attempt ended in a timeout.
    """

    def __init__(self, job_id: str, reason: str = "timed out") -> None:
        CorralError.__init__(self, f"job {job_id!r} {reason}")
        self.job_id = job_id
        self.reason = reason


def failure(job_id: str, reason: str) -> JobFailed:
    """The exception for a job that failed with this stored reason."""
    match reason.partition(": ")[0]:
        case "cancelled":
            return JobCancelled(job_id, reason)
        case "timed out":
            return JobTimeout(job_id, reason)
    return JobFailed(job_id, reason)


class UnrecoverableError(CorralError):
    """Raised by a processor: fail the job now, without using its remaining attempts."""


class JobExpired(UnrecoverableError):
    """The job was claimed later than its `expires_in` allows; it was not run."""


class UnknownTask(UnrecoverableError):
    """A generic task names a service, method or function that is not registered."""


class BadParameters(UnrecoverableError):
    """A generic task's parameters do not match the function's type hints; the message names the parameter."""


class WrongResults(UnrecoverableError):
    """A batch processor did not return one result for each job. Not retried: the jobs' work may be done already."""


class Retry(CorralError):
    """Returned or raised by a processor: run this job again after `delay`, using one attempt.

    `delay` is in milliseconds or a `timedelta`; None uses the job's own backoff.
    """

    def __init__(self, delay: int | timedelta | None = None, reason: str = "the processor asked for a retry") -> None:
        super().__init__(reason)
        self.delay = delay
        self.reason = reason


class Snooze(Retry):
    """Returned or raised by a processor: run this job again after `delay`, without using an attempt.

    For a job that is too early: a file does not exist yet, another service's rate limit is reached. `delay` is in milliseconds or
    a `timedelta`; 0 puts the job behind those that wait now. Raises InvalidOption for anything else. The number of snoozes has
    no limit: a processor that has waited long enough raises another error; `job.attempts_started` counts every run.
    """

    delay: int

    def __init__(self, delay: int | timedelta, reason: str = "the processor asked for a later run") -> None:
        ms = round(delay.total_seconds() * 1000) if isinstance(delay, timedelta) else delay
        if isinstance(ms, bool) or not isinstance(ms, int) or not 0 <= ms <= _TEN_YEARS_MS:
            raise InvalidOption(
                f"Snooze.delay: {delay!r} is not a delay; give 0 or more whole milliseconds or a timedelta"
            )
        super().__init__(ms, reason)


_TEN_YEARS_MS = 10 * 366 * 24 * 3600 * 1000


class RateLimited(CorralError):
    """Raised or returned by a processor that met another service's rate limit: run this job again, without using an attempt.

    `retry_after` is in milliseconds or a `timedelta`. The job goes back to the front of the queue, and no worker starts a
    job of this queue until then; with scope="job" only this job is delayed.
    """

    def __init__(
        self,
        retry_after: int | timedelta,
        reason: str = "a rate limit was met",
        *,
        scope: Literal["queue", "job"] = "queue",
    ) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        self.reason = reason
        self.scope = scope


class WaitForChildren(CorralError):
    """Raised by a processor: run the job again when all its children are done, without using an attempt.

    The children of `job.add_child` in this run are added first. If all children are done already the job runs again at once;
    a job that raises this again although no child has ended since then fails.
    """

    def __init__(self) -> None:
        super().__init__("the job waits for its children")


class LockLost(CorralError):
    """This worker no longer holds the job's lock; nothing was written."""

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"job {job_id!r} is no longer held by this run: its lock expired and another worker may run it"
        )
        self.job_id = job_id


# --- connections ------------------------------------------------------------------------------------------------------


class LinkError(CorralError):
    """Base class of errors of the connection and of the server."""


class ConnectFailed(LinkError, ConnectionError):
    """No connection could be made; nothing was sent. `transient`: False if a later try cannot succeed either."""

    transient = True

    def __init__(self, message: str, *, transient: bool = True) -> None:
        super().__init__(message)
        if not transient:
            self.transient = False


class AuthFailed(ConnectFailed):
    """The server refused the user name or the password."""

    transient = False


class LinkClosed(LinkError, ConnectionError):
    """This process closed the connection; the command was not sent."""


class QueueClosed(LinkClosed):
    """This process closed the queue; nothing was sent. `await queue.open()` opens it again."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} was closed; add before it is closed, or open it again with `open()`")


class OutcomeUnknown(LinkError, ConnectionError):
    """The command was sent and no reply came: it may have been carried out. The connection does not send it again."""


class ServerError(LinkError):
    """The server replied with an error. `code` is its first word, such as NOSCRIPT or WRONGTYPE."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = message.partition(" ")[0]


class WrongType(ServerError):
    """A key of the queue has the wrong type: another program wrote it. Nothing was written. Fixed by moving the key away."""

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
    """The server refuses commands for now (LOADING, BUSY, READONLY, OOM, ...); nothing was written."""


class ServerUnfit(LinkError):
    """A start-up check found a server on which jobs are not safe; the message has the fix and the override."""


class ScriptError(CorralError):
    """A Lua script and its Python binding disagree: a bug of the engine."""
