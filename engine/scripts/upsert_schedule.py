"""Create or change a schedule (lua/upsert_schedule.lua)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum

from engine.connection import Argument, Link
from engine.errors import ScriptError
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script

_upsert_schedule = Script(
    "upsert_schedule",
    keys="meta id wait paused active prioritized pc delayed repeat marker events jobs",
    args="now schedule due keep times name data head priority lifo",
    rows="field value",
)


class NotUpserted(IntEnum):
    """Why a schedule was not changed."""

    CHANGED = 1
    """Its next run has changed since the caller read it."""
    TAKEN = 2
    """At each of the times a run has already started."""


async def upsert_schedule(
    link: Link,
    keys: Keys,
    *,
    id: str,
    due: int | None,
    keep: bool,
    times: Sequence[int],
    name: str,
    data: bytes,
    head: bytes,
    priority: int,
    lifo: bool,
    fields: Mapping[str, str | bytes],
    now: Now = "",
) -> int | NotUpserted:
    """Write a schedule and its next run; returns that run's time, ms.

    `due`: the next run's time as the caller read it, None without a schedule; `keep`: a pending run keeps its time. `fields`: the
    schedule's hash.
    """
    rows: list[Argument] = [item for pair in fields.items() for item in pair]
    match await _upsert_schedule(
        link,
        keys,
        now,
        id,
        "" if due is None else due,
        int(keep),
        ",".join(map(str, times)),
        name,
        data,
        head,
        priority,
        int(lifo),
        rows=rows,
    ):
        case [0, bytes(time)]:
            return int(time)
        case [int(code)]:
            return NotUpserted(code)
        case other:
            raise ScriptError(f"upsert_schedule.lua returned {other!r}")
