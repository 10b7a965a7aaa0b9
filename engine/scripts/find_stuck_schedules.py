"""Find the schedules whose next run is not on its way (lua/find_stuck_schedules.lua)."""

from __future__ import annotations

from msgspec import Struct

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripting.loader import Now, Script
from engine.scripting.pace import PER_CALL

_find_stuck_schedules = Script(
    "find_stuck_schedules",
    keys="wait paused prioritized delayed repeat jobs",
    args="now interval skip count",
)


class StuckSchedule(Struct, frozen=True):
    id: str
    due: int
    """Time of the run that is not on its way, ms."""
    again: bool
    """It never began."""


async def find_stuck_schedules(
    link: Link, keys: Keys, *, interval_ms: int, skip: int = 0, count: int = PER_CALL, now: Now = ""
) -> tuple[list[StuckSchedule], int]:
    """What one call finds; and how many schedules the next call of this look skips, or -1 at its end."""
    rows, skip = await _find_stuck_schedules(link, keys, now, interval_ms, skip, count)
    return [StuckSchedule(id.decode(errors="surrogateescape"), int(due), again == 1) for id, due, again in rows], skip
