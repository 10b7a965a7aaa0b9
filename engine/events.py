"""Event types of a queue: one class for each event that `QueueEvents` yields. Use them in `match`.

Every event has `id`, its position in the stream; `at`, when it was written; and `job_id`, None for events of the queue itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from engine.model import clock, codec


class Event(Struct, frozen=True, kw_only=True):
    """Base class of all events. A value in an unknown form is text; a missing one is None."""

    id: str
    """Position in the stream, such as "1795485219557-0"."""
    job_id: str | None = None

    @property
    def at(self) -> datetime:
        """When the event was written, by the server's clock."""
        return clock.from_ms(id_parts(self.id)[0])


class Added(Event, frozen=True):
    """A job was added; the next event says into which state."""

    name: str | None = None


class Waiting(Event, frozen=True):
    """A job is ready to run. `prev`: its state before, None for a new job."""

    prev: str | None = None


class Delayed(Event, frozen=True):
    """A job is delayed until `due`."""

    due: datetime | None = None


class WaitingChildren(Event, frozen=True):
    """A parent job waits for its children. `prev`: its state before."""

    prev: str | None = None


class Active(Event, frozen=True):
    """A worker claimed a job. `prev`: its state before."""

    prev: str | None = None


class Progress(Event, frozen=True):
    """A job reported progress: `data`."""

    data: Any = None


class Completed(Event, frozen=True):
    """A job completed; `result` is what its processor returned, as plain JSON values."""

    result: Any = None
    prev: str | None = None


class Failed(Event, frozen=True):
    """A job failed for good, with its `reason`. A failed attempt that is retried is a `Delayed` or `Waiting` instead."""

    reason: str | None = None
    prev: str | None = None


class RetriesExhausted(Event, frozen=True):
    """Written beside `Failed` if the job had no attempt left."""

    attempts_made: int | None = None


class Stalled(Event, frozen=True):
    """The lock of an active job expired, because its worker died or hung; the job waits again."""


class Removed(Event, frozen=True):
    """A job was removed. `prev`: its state before."""

    prev: str | None = None


class Duplicated(Event, frozen=True):
    """A job was added with the id of an existing job; no job was made."""


class Deduplicated(Event, frozen=True):
    """A job was added with a deduplication id that is in use; no job was made. `job_id` is the job that has it."""

    deduplication_id: str | None = None
    deduplicated_job_id: str | None = None


class Debounced(Event, frozen=True):
    """The same as `Deduplicated`, under the name of older BullMQ versions; BullMQ 5 writes both."""

    debounce_id: str | None = None


class Cleaned(Event, frozen=True):
    """`queue.clean` removed `count` jobs."""

    count: int | None = None


class Drained(Event, frozen=True):
    """No job waits any more."""


class Paused(Event, frozen=True):
    """The queue was paused: workers claim no further jobs."""


class Resumed(Event, frozen=True):
    """The queue was resumed: workers claim jobs again."""


class Missing(Event, frozen=True):
    """A waiting id had no stored job and was dropped. Only Corral writes this event."""


class Unknown(Event, frozen=True):
    """An event that Corral does not know, such as a custom one: its name and all its fields, as text."""

    name: str = ""
    fields: dict[str, str] = {}


class Gap(Event, frozen=True):
    """Events were trimmed from the stream before they were read. Made by `QueueEvents`; not in the stream.

    `missed`: how many; None if that is unknown, and then it may be 0: see `QueueEvents.events`. `id`: the position where
    reading continues.
    """

    missed: int | None = None


def id_parts(id: str) -> tuple[int, int]:
    """Milliseconds and sequence number of a stream id; ids are ordered by them."""
    ms, _, number = id.partition("-")
    return int(ms), int(number or 0)


def event_name(flat: Sequence[bytes]) -> str:
    """The event name of a stream entry, given as field, value, field, value, ..."""
    return next((_text(flat[i + 1]) for i in range(0, len(flat), 2) if flat[i] == b"event"), "")


def read_event(id: str, flat: Sequence[bytes]) -> Event:
    """The event in a stream entry. Never raises, whatever the entry contains."""
    raw = dict(zip(flat[::2], flat[1::2], strict=True))
    fields = {_text(name): _text(value) for name, value in raw.items()}
    name = fields.pop("event", "")
    job_id, prev = fields.get("jobId"), fields.get("prev")
    match name:
        case "added":
            return Added(id=id, job_id=job_id, name=fields.get("name"))
        case "waiting":
            return Waiting(id=id, job_id=job_id, prev=prev)
        case "delayed":
            return Delayed(id=id, job_id=job_id, due=_time(fields.get("delay")))
        case "waiting-children":
            return WaitingChildren(id=id, job_id=job_id, prev=prev)
        case "active":
            return Active(id=id, job_id=job_id, prev=prev)
        case "progress":
            return Progress(id=id, job_id=job_id, data=_json(raw.get(b"data")))
        case "completed":
            return Completed(id=id, job_id=job_id, result=_json(raw.get(b"returnvalue")), prev=prev)
        case "failed":
            return Failed(id=id, job_id=job_id, reason=fields.get("failedReason"), prev=prev)
        case "retries-exhausted":
            return RetriesExhausted(id=id, job_id=job_id, attempts_made=_number(fields.get("attemptsMade")))
        case "stalled":
            return Stalled(id=id, job_id=job_id)
        case "removed":
            return Removed(id=id, job_id=job_id, prev=prev)
        case "duplicated":
            return Duplicated(id=id, job_id=job_id)
        case "deduplicated":
            kept, dropped = fields.get("deduplicationId"), fields.get("deduplicatedJobId")
            return Deduplicated(id=id, job_id=job_id, deduplication_id=kept, deduplicated_job_id=dropped)
        case "debounced":
            return Debounced(id=id, job_id=job_id, debounce_id=fields.get("debounceId"))
        case "cleaned":
            return Cleaned(id=id, count=_number(fields.get("count")))
        case "drained":
            return Drained(id=id)
        case "paused":
            return Paused(id=id)
        case "resumed":
            return Resumed(id=id)
        case "missing":
            return Missing(id=id, job_id=job_id)
    return Unknown(id=id, job_id=job_id, name=name, fields=fields)


def _text(value: bytes) -> str:
    return value.decode(errors="replace")


def _json(value: bytes | None) -> Any:
    if value is None:
        return None
    try:
        return codec.decode("", value)
    except ValueError:
        return _text(value)


def _number(text: str | None) -> int | None:
    try:
        return int(text or "")
    except ValueError:
        return None


def _time(text: str | None) -> datetime | None:
    number = _number(text)
    try:
        return None if number is None else clock.from_ms(number)
    except (ValueError, OverflowError, OSError):
        return None
