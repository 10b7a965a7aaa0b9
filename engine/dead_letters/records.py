"""Values of the dead-letter API, and how a dead letter is read from what Redis stores. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct

from engine.model import codec
from engine.model.options import JobOptions, read_options
from engine.model.records import Snapshot, to_datetime
from engine.scripting.snapshots import read_number, read_snapshot
from engine.scripts.fail import MAX_TENANT, UNKNOWN_ERROR


class DeadLetter(Struct, frozen=True, kw_only=True):
    """The last failure of a job that failed for good: the reason, the stack traces, and all that a replay needs."""

    id: str
    """Job id. A job has one dead letter at most."""
    queue_name: str
    name: str
    """Job name: the type of the job."""
    data: Any
    opts: JobOptions
    error: str | None
    """Class name of the exception; "NotRun" if a worker refused to run the job, "unknown" if nothing named the class."""
    failed_reason: str
    stacktrace: list[str]
    """One entry for each attempt, oldest first."""
    tenant: str | None
    """The `subAccountId` in the job's data."""
    attempts_made: int
    attempts_started: int
    stalls: int
    priority: int
    failures: int
    """How often a job with this id failed for good while it had a dead letter: above 1 if a replayed job failed again."""
    timestamp: datetime | None
    """When the job was added."""
    processed_on: datetime | None
    """When its last attempt started."""
    finished_on: datetime | None
    """When it failed for good."""
    processed_by: str | None
    """Name of the worker that ran the last attempt."""
    replayed_on: datetime | None
    """When it was replayed; None for an open dead letter."""


class DeadLetterPage(Struct, frozen=True):
    """One page of `dead_letters.list()`; iterate over it like a list. Pass `cursor` to get the next page; None on the last."""

    items: list[DeadLetter]
    cursor: str | None

    def __iter__(self) -> Iterator[DeadLetter]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


class AtLeast(Struct, frozen=True):
    """A count that may have stopped at a limit."""

    count: int
    complete: bool
    """False if the limit was reached: there may be more."""


class ReplayReport(Struct, frozen=True):
    """What `dead_letters.replay()` did, or with `dry_run=True` would do."""

    count: int
    """Jobs that were enqueued again; in a dry run, open dead letters that match."""
    skipped: dict[str, str]
    """Job id -> why it was not replayed; the first 1,000."""
    sample: list[DeadLetter]
    """In a dry run the ten oldest matches; else empty."""


def read_dead_letter(queue: str, id: str, record: Mapping[bytes, bytes]) -> DeadLetter:
    """A dead letter from its hash. Options that cannot be read are the defaults; data that is not JSON is text."""
    job = read_snapshot((id.encode(), [item for pair in record.items() for item in pair]), "failed")
    try:
        opts = read_options(job.opts)
    except (ValueError, RecursionError):
        opts = JobOptions()
    return DeadLetter(
        id=id,
        queue_name=queue,
        name=job.name,
        data=_value(job.data),
        opts=opts,
        error=_text(record, b"error"),
        failed_reason=job.failed_reason or "",
        stacktrace=_traces(job.stacktrace),
        tenant=_text(record, b"tenant"),
        attempts_made=job.attempts_made,
        attempts_started=job.attempts_started,
        stalls=job.stalls,
        priority=job.priority,
        failures=read_number(record, b"times") or 1,
        timestamp=to_datetime(job.timestamp),
        processed_on=to_datetime(job.processed_on),
        finished_on=to_datetime(job.finished_on),
        processed_by=job.processed_by,
        replayed_on=to_datetime(read_number(record, b"replayedOn")),
    )


_PYTHON_ERROR = re.compile(r"^ {2}File .*\n(?: .*\n)*(?!\s)([\w.]+)", re.MULTILINE)
_NODE_ERROR = re.compile(r"\A(\w+)(?::|\n)")


def error_and_tenant(job: Snapshot) -> tuple[str, str]:
    """The exception class that a failed job's last stack trace names, and the tenant in its data; empty for no tenant."""
    trace = next(reversed(_traces(job.stacktrace)), "")
    # In a chain of exceptions the last one failed the job.
    names = _PYTHON_ERROR.findall(trace + "\n") or _NODE_ERROR.findall(trace)
    data = _value(job.data)
    tenant = data.get("subAccountId") if isinstance(data, dict) else None
    return names[-1].rpartition(".")[2] if names else UNKNOWN_ERROR, "" if tenant is None else str(tenant)[:MAX_TENANT]


def _traces(stored: bytes) -> list[str]:
    traces = _value(stored)
    return [str(trace) for trace in traces] if isinstance(traces, list) else []


def _value(encoded: bytes) -> Any:
    """A JSON value that any producer stored; text if it is not JSON."""
    try:
        return codec.decode("", encoded)
    except ValueError:
        return encoded.decode(errors="replace")


def _text(record: Mapping[bytes, bytes], name: bytes) -> str | None:
    value = record.get(name)
    return None if value is None else value.decode(errors="replace")
