"""List schedules (lua/list_schedules.lua)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from engine.connection import Link
from engine.errors import ScriptError
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script
from engine.scripting.snapshots import read_score

_list_schedules = Script("list_schedules", keys="delayed repeat jobs", args="now first last run", rows="id")


class StoredSchedule(Struct, frozen=True):
    """A stored schedule, by Corral or BullMQ."""

    id: str
    due: int
    """Time of its next run, ms; of its last one if it has ended."""
    fields: dict[str, str]
    """Its hash; bytes that are not UTF-8 are kept as surrogates. Without a hash, the fields in its id (BullMQ 4), if it has any."""
    run_data: str | None = None
    """Data of its next run, if the hash has none; None if they were not read, or there is no such run."""
    run_options: str | None = None
    """The same of its options."""

    @property
    def data(self) -> str:
        """Of its jobs, as JSON."""
        return self.fields.get("data") or self.run_data or "{}"

    @property
    def options(self) -> bytes:
        """Of its jobs, as JSON; without any in the hash, those of its next run, which include what each run has of its own."""
        return (self.fields.get("opts") or self.run_options or "{}").encode(errors="surrogateescape")

    @property
    def count(self) -> int:
        """Number of its next run, from 1; of its last one if it has ended. An upsert starts at 1 again."""
        try:
            return int(self.fields.get("ic", 1)) - int(self.fields.get("before", 0))
        except ValueError:
            return 1

    @property
    def ended(self) -> bool:
        return "ended" in self.fields


class SchedulePage(Struct, frozen=True):
    """Schedules in the order of the request."""

    now: int
    """The server's time, ms."""
    schedules: list[StoredSchedule | None]


async def list_schedules(
    link: Link,
    keys: Keys,
    *,
    ids: Sequence[str] = (),
    page: tuple[int, int] | None = None,
    run: str = "",
    now: Now = "",
) -> SchedulePage:
    """Schedules by `ids`, None for a missing one; or a `page` of all, first and last rank by their next runs; or the schedule of
    the job `run`, without its next run's data and options."""
    first, last = ("", "") if page is None else page
    match await _list_schedules(link, keys, now, first, last, run, rows=ids):
        case [int(time), list(rows)]:
            return SchedulePage(time, [None if row is None else _read(row) for row in rows])
        case other:
            raise ScriptError(f"list_schedules.lua returned {other!r}")


def _read(row: Sequence[Any]) -> StoredSchedule:
    id, due, flat, *run = row
    fields = {_text(flat[i]): _text(flat[i + 1]) for i in range(0, len(flat), 2)}
    data, options = (None if value is None else _text(value) for value in [*run, None, None][:2])
    return StoredSchedule(_text(id), read_score(due), fields or read_key(_text(id)), data, options)


def read_key(id: str) -> dict[str, str]:
    """Read the fields of a schedule's hash from the key of a BullMQ 4 repeatable job; empty if the id is not such a key.

    Such a key is `<name>:<job id>:<end in ms>:<time zone>:<cron pattern, or ms>`.
    """
    parts = id.rsplit(":", 4)
    if len(parts) < 5:
        return {}
    name, _, end, tz, times = parts
    fields = {"name": name, "endDate": end, "tz": tz, "every" if times.isdecimal() else "pattern": times}
    return {field: value for field, value in fields.items() if value}


def _text(value: bytes) -> str:
    return value.decode(errors="surrogateescape")
