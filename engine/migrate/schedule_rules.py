"""What is to be said of one stored schedule. Pure: asks the engine's own timetable, knows no server."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from engine.errors import InvalidInput, InvalidOption
from engine.keys import check_schedule_id
from engine.migrate.job_rules import Said
from engine.options import read_options
from engine.timetable import Timetable


class FoundSchedule(Struct, frozen=True):
    """`fields`: its hash; empty where there is none. `has_run`: whether the run that is due next has a hash."""

    id: str
    due: int
    fields: Mapping[str, str]
    has_run: bool

    @property
    def is_legacy(self) -> bool:
        return "ic" not in self.fields


def schedule_rules(schedule: FoundSchedule, now: int) -> Said:
    """All that is to be said of a schedule. `now`: the server's time, ms."""
    if not schedule.fields:
        yield "schedule-without-record", ""
        return
    if schedule.is_legacy:
        yield "schedule-legacy", schedule.fields.get("pattern") or schedule.fields.get("every", "")
    else:
        yield from _of_id(schedule.id)
    try:
        table = Timetable.read(schedule.fields)
    except InvalidOption as error:
        yield "schedule-refused", str(error)
        return
    yield from _of_pattern(table, schedule.fields)
    if not schedule.has_run and not schedule.is_legacy and not _is_over(schedule, table, now):
        yield "schedule-stopped", ""
    try:
        read_options(schedule.fields.get("opts", "").encode(errors="surrogateescape"))
    except (ValueError, RecursionError) as error:
        yield "schedule-options", str(error)


def _of_id(id: str) -> Said:
    try:
        check_schedule_id(id)
    except InvalidInput as error:
        yield "schedule-id", str(error)


def _of_pattern(table: Timetable, fields: Mapping[str, str]) -> Said:
    if table.pattern is None:
        return
    if not fields.get("tz"):
        yield "schedule-without-zone", table.pattern
    day, _, weekday = table.pattern.replace("?", "*").split()[-3:] if " " in table.pattern else ("*", "*", "*")
    if (_is_step(day) and weekday != "*") or (_is_step(weekday) and day != "*"):
        yield "schedule-days", table.pattern
    elif "#" in weekday and day != "*":
        yield "schedule-nth-weekday", table.pattern


def _is_step(field: str) -> bool:
    return field.startswith("*/") and field != "*/1"


def _is_over(schedule: FoundSchedule, table: Timetable, now: int) -> bool:
    """Whether no run is to follow: BullMQ leaves the record of such a schedule where it is."""
    if "ended" in schedule.fields or (table.end is not None and table.end <= max(now, schedule.due)):
        return True
    count = schedule.fields.get("ic", "1")
    return table.limit is not None and count.isdecimal() and int(count) >= table.limit
