"""Every exception of the engine, in one tree, split by whose fault it is.

The caller's: `InvalidInput` and what stands below it; nothing was written.
The job's: `JobFailed`, `UnrecoverableError`, `Retry`, `Snooze`, `RateLimited`, `WaitForChildren`.
The line's: `LinkError` and what stands below it; the request may or may not have been carried out, as each one says.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Literal


class CorralError(Exception):
    """The root of the engine's exceptions."""


# --- the caller's -----------------------------------------------------------------------------------------------------


class InvalidInput(CorralError, ValueError):
    """Something that was asked for cannot be; the message names the field, the problem and the remedy."""


class InvalidName(InvalidInput):
    """A queue name, prefix or job id that the wire format cannot carry."""


class InvalidOption(InvalidInput):
    """An option that does not exist or has a value outside its range."""


class InvalidData(InvalidInput):
    """Job data, progress or a result that is not what its type says or that JSON cannot carry."""


class PayloadTooLarge(InvalidInput):
    """Job data over the size that the queue allows."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'delay'?` for a near miss of a known word, such as its camelCase; else the empty text."""
    names = list(known)
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in word).strip("_")
    found = [snake] if snake in names else difflib.get_close_matches(snake, names, 1, 0.7)
    return f"; did you mean {found[0]!r}?" if found else ""


def check_fields(name: str, given: Mapping[str, Any], fields: Iterable[str]) -> None:
    """Raise InvalidOption if the dict of an option has a field that is not one of these."""
    for field in given:
        if field not in (known := tuple(fields)):
            suggestion = did_you_mean(str(field), known)
            raise InvalidOption(f"{name}: {field!r} is not a field; it has {', '.join(known)}{suggestion}")


class UnknownJobType(InvalidInput):
    """A job type that the service does not have."""


class JobNotFound(CorralError, LookupError):
    """No job of that id: it was never there, or it was removed."""

    def __init__(self, job_id: str, queue: str = "") -> None:
        where = f" in queue {queue!r}" if queue else ""
        super().__init__(f"job {job_id!r} is not{where}: it was never added, or it was removed or trimmed by retention")
        self.job_id = job_id


class DeadLetterNotFound(CorralError, LookupError):
    """No dead letter of a job of that id."""

    def __init__(self, job_id: str, queue: str = "") -> None:
        where = f" in queue {queue!r}" if queue else ""
        super().__init__(
            f"job {job_id!r} has no dead letter{where}: it has not failed for good, or the letter was purged or trimmed"
        )
        self.job_id = job_id


class ScheduleNotFound(CorralError, LookupError):
    """No schedule of that id."""

    def __init__(self, schedule_id: str, queue: str = "") -> None:
        where = f" in queue {queue!r}" if queue else ""
        super().__init__(f"schedule {schedule_id!r} is not{where}: it was never made, or it was removed")
        self.schedule_id = schedule_id


class WrongState(CorralError):
    """The job is not in a state from which it can make that move; nothing was written."""


class JobLocked(WrongState):
    """A worker holds the job; nothing was written."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"job {job_id!r} is being run by a worker; wait until it ends, or cancel it first")
        self.job_id = job_id


class MissingExtra(CorralError, ImportError):
    """A part of the engine that needs packages which are not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs packages that are not installed: pip install 'corral[{extra}]'")
        self.extra = extra


# --- the job's --------------------------------------------------------------------------------------------------------


class JobFailed(CorralError):
    """The job failed for good; the message is its reason."""

    def __init__(self, job_id: str, reason: str) -> None:
        super().__init__(f"job {job_id!r} failed: {reason}")
        self.job_id = job_id
        self.reason = reason


class JobCancelled(JobFailed):
    """The job was cancelled: raised for those who wait for its result, and in a handler that was told to stop."""

    def __init__(self, job_id: str, reason: str = "cancelled") -> None:
        CorralError.__init__(self, f"job {job_id!r} was {reason}")
        self.job_id = job_id
        self.reason = reason


class JobTimeout(JobFailed, TimeoutError):
    """The attempt took longer than it may, or went without a heartbeat for too long. Retried like any failure.

    Raised in the handler, and for those who wait for the result of a job whose last attempt ended so.
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
    """Raised by a processor: fail the job at once, whatever attempts are left."""


class JobExpired(UnrecoverableError):
    """The job was claimed later than its `expires_in` allows; it was not run."""


class UnknownTask(UnrecoverableError):
    """A generic task names a service, method or function that the registry does not hold."""


class BadParameters(UnrecoverableError):
    """A generic task's parameters are not what the function's type hints say; the message names the parameter."""


class WrongResults(UnrecoverableError):
    """A batch processor did not say what each of its jobs came to. Not tried again: what the jobs did, is done."""


class Retry(CorralError):
    """Returned or raised by a processor: run this job again after `delay`, using one attempt.

    `delay` is in milliseconds or a `timedelta`; None asks for the job's own backoff.
    """

    def __init__(self, delay: int | timedelta | None = None, reason: str = "the processor asked for a retry") -> None:
        super().__init__(reason)
        self.delay = delay
        self.reason = reason


class Snooze(Retry):
    """Returned or raised by a processor: run this job again after `delay`, without using an attempt.

    For a job that is fine but too early: a file is not there yet, a rate limit of somebody else is reached. `delay` is in
    milliseconds or a `timedelta`; 0 puts the job behind those that are in line now. Raises InvalidOption for anything else. There
    is no bound: `job.attempts_started` counts every run, and a processor that has waited long enough raises another error.
    """

    delay: int

    def __init__(self, delay: int | timedelta, reason: str = "the processor asked for a later run") -> None:
        ms = round(delay.total_seconds() * 1000) if isinstance(delay, timedelta) else delay
        if isinstance(ms, bool) or not isinstance(ms, int) or not 0 <= ms <= _TEN_YEARS_MS:
            raise InvalidOption(
                f"Snooze.delay: {delay!r} is not a wait; give 0 or more whole milliseconds or a timedelta"
            )
        super().__init__(ms, reason)


_TEN_YEARS_MS = 10 * 366 * 24 * 3600 * 1000


class RateLimited(CorralError):
    """Raised or returned by a processor that met somebody's rate limit: run this job again, using no attempt.

    `retry_after` is in milliseconds or a `timedelta`. The job goes back to the front of the line, and no job of the
    queue starts on any worker until then; with scope="job" only this one waits, as a delayed job.
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
    """Raised by a processor: let the job wait until its children are done, and then run it again, without using an attempt.

    Those that `job.add_child` gathered in this run are added first. Where all children are done the job runs again at once;
    one that raises this again though nothing has ended since fails.
    """

    def __init__(self) -> None:
        super().__init__("the job waits for its children")


class LockLost(CorralError):
    """Another claim holds the job now, or nobody does; nothing was written."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"job {job_id!r} is no longer held by this claim: its lock expired and the job was taken over")
        self.job_id = job_id


# --- the line's -------------------------------------------------------------------------------------------------------


class LinkError(CorralError):
    """Something between this process and the server."""


class ConnectFailed(LinkError, ConnectionError):
    """No connection could be made; nothing was sent. `transient`: False where no later try can succeed either."""

    transient = True

    def __init__(self, message: str, *, transient: bool = True) -> None:
        super().__init__(message)
        if not transient:
            self.transient = False


class AuthFailed(ConnectFailed):
    """The server refused the user name or password."""

    transient = False


class LinkClosed(LinkError, ConnectionError):
    """The link was closed by this process; the command was not sent."""


class QueueClosed(LinkClosed):
    """The queue was closed by this process; nothing was sent. `await queue.open()` opens it again."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} was closed; add before it is closed, or open it again with `open()`")


class OutcomeUnknown(LinkError, ConnectionError):
    """The command was sent and no reply came: it may or may not have been carried out. Never resent by the link."""


class ServerError(LinkError):
    """An error reply of the server. `code` is its first word, such as NOSCRIPT or WRONGTYPE."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = message.partition(" ")[0]


class WrongType(ServerError):
    """A key of the queue holds what another program put there. Nothing was written; it is well again once the key is gone."""

    def __init__(self, key: str, holds: str, wanted: str) -> None:
        ServerError.__init__(
            self,
            f"WRONGTYPE key {key[:300]!r} holds a {holds} and should be a {wanted}: another program wrote it; "
            f"look at it, then move it away (RENAME) or delete it (DEL)",
        )
        self.key = key
        self.holds = holds
        self.wanted = wanted


class ServerBusy(ServerError):
    """The server cannot serve now (LOADING, BUSY, READONLY, OOM and the like) and may later; nothing was written."""


class ServerUnfit(LinkError):
    """A start-up check found a server on which jobs would not be safe; the message says how to mend or override it."""


class ScriptError(CorralError):
    """A script and its binding disagree: a bug of the engine."""
