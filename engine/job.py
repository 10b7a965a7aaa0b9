"""The values that flow through the engine: what is added, what is claimed, what a run comes to, what is stored.

Nothing here knows Redis; the `Job` that users hold is in handle.py.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

from engine import clock
from engine.options import Deduplication, JobOptions


class NewJob:
    """A job to be added: `NewJob("sms", data, delay=5_000)`. Options are those of `JobOptions`.

    Raises InvalidOption or InvalidName at once if an option is wrong.
    """

    __slots__ = ("data", "name", "options")

    def __init__(self, name: str, data: Any = None, **options: Any) -> None:
        self.name = name
        self.data = data
        self.options = JobOptions.check(options)

    def __repr__(self) -> str:
        return f"NewJob({self.name!r})"

    def change(self, **options: Any) -> None:
        """Give it other options; those that are not named stay. Raises as when it is made, and changes nothing then."""
        self.options = JobOptions.check({**self.options.given(), **options})


class NewRow(Struct, frozen=True):
    """A job as `add.lua` takes it: text and bytes only."""

    id: str
    """Empty: the queue's counter gives one."""
    name: str
    data: bytes
    opts: bytes
    timestamp: int | None = None
    """Unix milliseconds; None takes the server's time."""
    delay: int = 0
    priority: int = 0
    lifo: bool = False
    deduplication: Deduplication | None = None


class NodeRow(Struct, frozen=True):
    """A job that may have a parent or children, in a queue of its own."""

    queue: str
    """What its keys begin with, such as "bull:reports:"."""
    row: NewRow
    parent: str = ""
    """Key of the job that waits for it; empty for none."""
    link: bytes = b""
    """What stands of that in the job's hash, as BullMQ writes it: JSON with id, queueKey, and what a failure does."""
    also: bytes = b""
    """Keys of further jobs that wait for it, which BullMQ has no word for: one a line."""
    waits: bool = False
    """It has children, which are added with it."""


class Claimed(Struct, frozen=True):
    """A job that this process may run: the fields of its hash as a claim found them, before anything was decoded."""

    id: str
    fence: int
    """How often the job was started, this claim included (`ats`). Rises with each claim, so it tells an old one from a new."""
    token: str
    name: str
    data: bytes
    opts: bytes
    timestamp: int = 0
    priority: int = 0
    attempts_made: int = 0
    stalls: int = 0
    stacktrace: bytes = b""
    deferred_failure: str | None = None
    """Set by a sweep or a parent: fail with this reason without running."""
    progress: bytes = b""
    broken: str | None = None
    """Why this job cannot be run at all (a hash without a name, an id that is no text): fail with this reason."""
    raw: bytes = b""
    """The id as it stands in Redis, where that is no text and `id` only shows it."""

    @property
    def slot(self) -> str | bytes:
        """The id as scripts take it."""
        return self.raw or self.id


class Completed(Struct, frozen=True):
    """The processor returned; `value` is its result as JSON."""

    value: bytes


class Failed(Struct, frozen=True):
    """The job is over: no attempt is left, or none would help."""

    reason: str
    stacktrace: bytes = b""
    """JSON array of texts, oldest first."""
    error: str = ""
    """Class name of the exception."""


class Retrying(Struct, frozen=True):
    """An attempt failed and another is left: run again after `delay` ms."""

    delay: int
    reason: str
    stacktrace: bytes = b""
    error: str = ""


class Delayed(Struct, frozen=True):
    """The processor asked for a later run: again after `delay` ms, no attempt used."""

    delay: int


class Released(Struct, frozen=True):
    """Claimed but not started: back to the front of the line, no attempt used."""


class Limited(Struct, frozen=True):
    """Somebody's rate limit was met: back to the front of the line, no attempt used, and no job of the queue starts for `wait` ms."""

    wait: int


class CompletedAdding(Struct, frozen=True):
    """The processor returned, after it gathered jobs: both are written together. `value` is its result as JSON."""

    value: bytes
    nodes: tuple[NodeRow, ...]


class WaitingChildren(Struct, frozen=True):
    """The processor waits for its children, to run again when they are done. `children` are new ones."""

    children: tuple[NodeRow, ...] = ()


Outcome = Completed | CompletedAdding | Failed | Retrying | Delayed | WaitingChildren | Released | Limited


class Snapshot(Struct, frozen=True):
    """A stored job at one moment, undecoded. None or empty where the field is not there."""

    id: str
    name: str = ""
    data: bytes = b"{}"
    opts: bytes = b"{}"
    timestamp: int = 0
    delay: int = 0
    priority: int = 0
    attempts_made: int = 0
    attempts_started: int = 0
    stalls: int = 0
    progress: bytes = b""
    return_value: bytes = b""
    failed_reason: str | None = None
    stacktrace: bytes = b"[]"
    processed_on: int | None = None
    finished_on: int | None = None
    processed_by: str | None = None
    parent_key: str | None = None
    deduplication_id: str | None = None
    scheduler_id: str | None = None
    state: str = "unknown"
    is_there: bool = True
    """False where an id stands in a structure and has no hash."""


class Counts(Struct, frozen=True):
    """How many jobs are in each state. `waiting` has no priority; `paused` waits in a queue that BullMQ 5 paused."""

    waiting: int = 0
    active: int = 0
    delayed: int = 0
    prioritized: int = 0
    completed: int = 0
    failed: int = 0
    waiting_children: int = 0
    paused: int = 0


def moment(ms: int | None) -> datetime | None:
    """The aware datetime of a stored time, if there is one; None too for one beyond every calendar, whoever wrote it."""
    try:
        return None if ms is None else clock.from_ms(ms)
    except (ValueError, OverflowError, OSError):
        return None
