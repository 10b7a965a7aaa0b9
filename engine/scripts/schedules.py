"""Show schedules (lua/schedules.lua)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from engine.errors import ScriptError
from engine.keys import Keys
from engine.link import Link
from engine.script import Now, Script
from engine.scripts.snapshots import read_score

_schedules = Script("schedules", keys="repeat jobs", args="now first last", rows="id")


class StoredSchedule(Struct, frozen=True):
    """A schedule as it is stored, whoever stored it."""

    id: str
    due: int
    """Time of its next run, ms; of its last one if it has ended."""
    fields: dict[str, str]
    """Its hash; bytes that are no text are kept as surrogates."""

    @property
    def legacy(self) -> bool:
        """One of BullMQ 5's repeatable jobs: only its runs have its data and options."""
        return "ic" not in self.fields

    @property
    def count(self) -> int:
        """Number of its next run, from 1; of its last one if it has ended. An upsert begins anew."""
        try:
            return int(self.fields.get("ic", 1)) - int(self.fields.get("before", 0))
        except ValueError:
            return 1

    @property
    def ended(self) -> bool:
        return "ended" in self.fields


class Found(Struct, frozen=True):
    now: int
    """The server's time, ms."""
    schedules: list[StoredSchedule | None]


async def schedules(
    link: Link, keys: Keys, *, ids: Sequence[str] = (), page: tuple[int, int] | None = None, now: Now = ""
) -> Found:
    """The schedules of these ids, None where there is none; or a page of all, its first and last rank, by their next runs."""
    first, last = ("", "") if page is None else page
    match await _schedules(link, keys, now, first, last, rows=ids):
        case [int(time), list(rows)]:
            return Found(time, [None if row is None else _read(row) for row in rows])
        case other:
            raise ScriptError(f"schedules.lua returned {other!r}")


def _read(row: Sequence[Any]) -> StoredSchedule:
    id, due, flat = row
    fields = {_text(flat[i]): _text(flat[i + 1]) for i in range(0, len(flat), 2)}
    return StoredSchedule(_text(id), read_score(due), fields)


def _text(value: bytes) -> str:
    return value.decode(errors="surrogateescape")
