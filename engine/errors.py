"""Every exception of the engine, in one tree, split by whose fault it is.

The caller's: `InvalidInput` and what stands below it; nothing was written.
The job's: `JobFailed`, `UnrecoverableError`, `Retry`, `Snooze`, `WaitForChildren`.
The line's: `LinkError` and what stands below it; the request may or may not have been carried out, as each one says.
"""

from __future__ import annotations

from datetime import timedelta


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


class UnknownJobType(InvalidInput):
    """A job type that the service does not have."""


class JobNotFound(CorralError, LookupError):
    """No job of that id: it was never there, or it was removed."""

    def __init__(self, job_id: str, queue: str = "") -> None:
        where = f" in queue {queue!r}" if queue else ""
        super().__init__(f"job {job_id!r} is not{where}: it was never added, or it was removed or trimmed by retention")
        self.job_id = job_id


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


class UnrecoverableError(CorralError):
    """Raised by a processor: fail the job at once, whatever attempts are left."""


class UnknownTask(UnrecoverableError):
    """A generic task names a service, method or function that the registry does not hold."""


class BadParameters(UnrecoverableError):
    """A generic task's parameters are not what the function's type hints say; the message names the parameter."""


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

    For a job that is fine but too early: a file is not there yet, a rate limit of somebody else is reached. `delay` is at
    least 1 millisecond, or a `timedelta`; InvalidOption is raised here if it is not. There is no bound:
    `job.attempts_started` counts every run, and a processor that has waited long enough raises another error.
    """

    delay: int

    def __init__(self, delay: int | timedelta, reason: str = "the processor asked for a later run") -> None:
        ms = round(delay.total_seconds() * 1000) if isinstance(delay, timedelta) else delay
        if isinstance(ms, bool) or not isinstance(ms, int) or not 1 <= ms <= _TEN_YEARS_MS:
            raise InvalidOption(
                f"Snooze.delay: {delay!r} is not a wait; give 1 or more whole milliseconds or a timedelta"
            )
        super().__init__(ms, reason)


_TEN_YEARS_MS = 10 * 366 * 24 * 3600 * 1000


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
    """No connection could be made; nothing was sent."""


class AuthFailed(ConnectFailed):
    """The server refused the user name or password."""


class LinkClosed(LinkError, ConnectionError):
    """The link was closed by this process; the command was not sent."""


class OutcomeUnknown(LinkError, ConnectionError):
    """The command was sent and no reply came: it may or may not have been carried out. Never resent by the link."""


class ServerError(LinkError):
    """An error reply of the server. `code` is its first word, such as NOSCRIPT or WRONGTYPE."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = message.partition(" ")[0]


class ServerBusy(ServerError):
    """The server cannot serve now (LOADING, BUSY, READONLY, OOM and the like) and may later; nothing was written."""


class ServerUnfit(LinkError):
    """A start-up check found a server on which jobs would not be safe; the message says how to mend or override it."""


class ScriptError(CorralError):
    """A script and its binding disagree: a bug of the engine."""
