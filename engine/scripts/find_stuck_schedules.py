"""Find schedules whose next run does not exist or has ended (lua/find_stuck_schedules.lua)."""

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
    """A schedule without a pending run."""

    id: str
    due: int
    """Time of the missing run, ms."""
    again: bool
    """It never started, so it is to be added again."""


async def find_stuck_schedules(
    link: Link, keys: Keys, *, interval_ms: int, skip: int = 0, count: int = PER_CALL, now: Now = ""
) -> tuple[list[StuckSchedule], int]:
    """Stuck schedules of one call; and how many schedules the next call of this check is to skip, or -1 at its end."""
    rows, skip = await _find_stuck_schedules(link, keys, now, interval_ms, skip, count)
    return [StuckSchedule(id.decode(errors="surrogateescape"), int(due), again == 1) for id, due, again in rows], skip
