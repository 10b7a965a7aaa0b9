"""What happened in a queue: one type for each event of its stream. `match` on them; `QueueEvents` gives them.

Every event has `id`, its place in the stream; `at`, when it was written; and `job_id`, None where it is about the queue.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from engine.model import clock, codec


class Event(Struct, frozen=True, kw_only=True):
    """What all events have. A value that another program wrote in a form of its own stands as text; a missing one is None."""

    id: str
    """Place in the stream, such as "1795485219557-0"."""
    job_id: str | None = None

    @property
    def at(self) -> datetime:
        """When it was written, by the server's clock."""
        return clock.from_ms(id_parts(self.id)[0])


class Added(Event, frozen=True):
    """A job was stored; where it went is the next event."""

    name: str | None = None


class Waiting(Event, frozen=True):
    """A job stands in line. `prev`: where it came from, None for a new one."""

    prev: str | None = None


class Delayed(Event, frozen=True):
    """A job will be put in line at `due`."""

    due: datetime | None = None


class WaitingChildren(Event, frozen=True):
    """A parent waits for its children."""

    prev: str | None = None


class Active(Event, frozen=True):
    """A worker took a job."""

    prev: str | None = None


class Progress(Event, frozen=True):
    """A job reported how far it is: `data`."""

    data: Any = None


class Completed(Event, frozen=True):
    """A job is done; `result` is what its processor returned, as plain JSON values."""

    result: Any = None
    prev: str | None = None


class Failed(Event, frozen=True):
    """A job failed for good. An attempt that will be repeated is a `Delayed` or `Waiting` instead."""

    reason: str | None = None
    prev: str | None = None


class RetriesExhausted(Event, frozen=True):
    """Beside `Failed`: the job had no attempt left."""

    attempts_made: int | None = None


class Stalled(Event, frozen=True):
    """The worker of a job died or hung; the job is back in line."""


class Removed(Event, frozen=True):
    """A job was deleted. `prev`: the structure it stood in."""

    prev: str | None = None


class Duplicated(Event, frozen=True):
    """A job was added whose id was there already; nothing was written."""


class Deduplicated(Event, frozen=True):
    """A job was added whose deduplication id is taken. `job_id` is the one that stays."""

    deduplication_id: str | None = None
    deduplicated_job_id: str | None = None


class Debounced(Event, frozen=True):
    """`Deduplicated` in the words of BullMQ 5, which writes both."""

    debounce_id: str | None = None


class Cleaned(Event, frozen=True):
    """`count` jobs were deleted for their age."""

    count: int | None = None


class Drained(Event, frozen=True):
    """The last job in line is finished."""


class Paused(Event, frozen=True):
    """Workers take no further jobs."""


class Resumed(Event, frozen=True):
    """Workers take jobs again."""


class Missing(Event, frozen=True):
    """An id in line had no job behind it and was dropped. Written by Corral only."""


class Unknown(Event, frozen=True):
    """An event that Corral does not know, such as one of your own: its name and all its fields, as text."""

    name: str = ""
    fields: dict[str, str] = {}


class Gap(Event, frozen=True):
    """Not in the stream: entries that were not read yet are gone from it, since it keeps only so many.

    `missed`: how many; None where that cannot be known, and it may be none: see `QueueEvents.events`. `id`: where
    reading goes on.
    """

    missed: int | None = None


def id_parts(id: str) -> tuple[int, int]:
    """Milliseconds and number of a stream id, which is what ids are ordered by."""
    ms, _, number = id.partition("-")
    return int(ms), int(number or 0)


def event_name(flat: Sequence[bytes]) -> str:
    """The name of an entry, from its names and values in turn."""
    return next((_text(flat[i + 1]) for i in range(0, len(flat), 2) if flat[i] == b"event"), "")


def read_event(id: str, flat: Sequence[bytes]) -> Event:
    """The event of an entry. Nothing that stands in one is an error."""
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
