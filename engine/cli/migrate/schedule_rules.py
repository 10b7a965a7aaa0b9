"""Rules for one stored schedule. No I/O: uses the engine's own timetable."""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

from engine.cli.migrate.job_rules import Rules
from engine.errors import InvalidInput, InvalidOption
from engine.model.cron import Timetable
from engine.model.keys import check_schedule_id
from engine.model.options import NO_OPTIONS, read_options
from engine.schedules import read_table, stored_options
from engine.scripts.list_schedules import StoredSchedule, read_key


class FoundSchedule(Struct, frozen=True):
    """`fields`: its hash; empty if missing. `has_run`: whether the next run has a hash; `run_options`: that run's options."""

    id: str
    due: int
    fields: Mapping[str, str]
    has_run: bool
    run_options: bytes = b""

    @property
    def is_legacy(self) -> bool:
        """Made by `add` with `repeat`: under a key of BullMQ 4, or under the checksum of one."""
        return "ic" not in self.fields and bool(read_key(self.id) or _CHECKSUM.fullmatch(self.id))


def schedule_rules(schedule: FoundSchedule, now: int) -> Rules:
    """The findings of a schedule. `now`: the server's time, ms."""
    fields = schedule.fields or read_key(schedule.id)
    if not fields:
        yield "schedule-without-record", ""
        return
    if schedule.is_legacy:
        yield "schedule-legacy", fields.get("pattern") or fields.get("every", "")
    else:
        yield from _of_id(schedule.id)
        if kept := _in_runs(schedule):
            yield "schedule-in-runs", kept
    try:
        table = read_table(fields, schedule.run_options)
    except InvalidOption as error:
        yield "schedule-refused", str(error)
        return
    yield from _of_pattern(table, fields)
    if not schedule.has_run and "ic" in fields and not _is_over(schedule, table, now):
        yield "schedule-stopped", ""
    try:
        read_options(fields.get("opts", "").encode(errors="surrogateescape"))
    except (ValueError, RecursionError) as error:
        yield "schedule-options", str(error)


_CHECKSUM = re.compile("[0-9a-f]{32}")


def _in_runs(schedule: FoundSchedule) -> str:
    """What is stored in its runs only: "data", which may be `{}`, and "options"."""
    run = StoredSchedule(
        schedule.id, schedule.due, {}, run_options=schedule.run_options.decode(errors="surrogateescape")
    )
    found = []
    if "ic" not in schedule.fields and "data" not in schedule.fields:
        found.append("data")
    if "opts" not in schedule.fields and stored_options(run) != NO_OPTIONS:
        found.append("options")
    return ", ".join(found)


def _of_id(id: str) -> Rules:
    try:
        check_schedule_id(id)
    except InvalidInput as error:
        yield "schedule-id", str(error)


def _of_pattern(table: Timetable, fields: Mapping[str, str]) -> Rules:
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
    """Whether no run follows: BullMQ keeps the record of a schedule that has ended."""
    if "ended" in schedule.fields or (table.end is not None and table.end <= max(now, schedule.due)):
        return True
    count = schedule.fields.get("ic", "1")
    return table.limit is not None and count.isdecimal() and int(count) >= table.limit
