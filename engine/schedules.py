"""Schedules: jobs that are added at the times of a cron pattern, or at intervals. `queue.schedules`.

A schedule has one next run at any time: a delayed job. The worker that claims it adds the following run. What is computed here
holds only if the next run is still the one that was read: the script checks that, and if it is not, it is computed again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Unpack, overload

import msgspec
from msgspec import UNSET, Struct

from engine.connection import Link
from engine.errors import InvalidOption, ScheduleNotFound, WrongState
from engine.job import Job
from engine.model import codec
from engine.model.checks import flag
from engine.model.clock import from_ms
from engine.model.cron import MISFIRE_AFTER, Misfire, Overlap, Timetable
from engine.model.keys import Keys, check_schedule_id
from engine.model.options import NO_OPTIONS, JobOptions, ScheduleOptions, read_options
from engine.model.records import D, NewJob, R, Target, encode_data, signature_of, to_datetime
from engine.scripting.pace import PER_CALL
from engine.scripts.list_schedules import StoredSchedule, list_schedules
from engine.scripts.remove_schedule import remove_schedule
from engine.scripts.upsert_schedule import NotUpserted, upsert_schedule

_TRIES = 100
"""Tries of an upsert, each of which fails if another upsert of the same schedule came first."""
_OWN = ("repeat", "repeatJobKey", "jobId", "delay", "timestamp", "prevMillis")
"""Options that each run gets from the schedule."""
_TIMES = ("pattern", "tz", "every", "offset")
_BOUNDS = ("limit", "startDate", "endDate")
_REFUSED = {
    "delay": "the schedule sets when its jobs run; use start= or offset=",
    "run_at": "the schedule sets when its jobs run; use start= or offset=",
    "job_id": "each run gets an id from the schedule's id and its time; leave it out",
    "timestamp": "each run gets the time at which it is added; leave it out",
    "parent": "each run would be a child of the same parent; let the processor add a flow",
    "deduplication": "a schedule has one run at each time; use overlap=",
}


class Schedule(Struct, frozen=True, kw_only=True):
    """A stored schedule. Durations are milliseconds."""

    id: str
    name: str
    """Job name of its runs: it selects the processor."""
    data: Any
    """Data of its runs."""
    options: JobOptions
    """Options of its runs."""
    cron: str | None
    tz: str | None
    """Time zone of `cron`."""
    every: int | None
    offset: int | None
    """Milliseconds by which runs are later than the multiples of `every`."""
    limit: int | None
    start: datetime | None
    end: datetime | None
    misfire: Misfire
    misfire_after: int
    overlap: Overlap
    next_run: datetime | None
    """When the next run is due; None once the schedule has ended."""
    runs: int
    """Runs added since the last upsert, the next one included."""


class UpsertOptions(ScheduleOptions, total=False):
    """Keyword arguments of `Schedules.upsert`, which explains them."""

    cron: str | None
    tz: str | None
    every: int | timedelta | None
    offset: int | timedelta | None
    limit: int | None
    start: datetime | int | None
    end: datetime | int | None
    immediately: bool
    misfire: Misfire
    misfire_after: int | timedelta
    overlap: Overlap


class Schedules:
    """The schedules of a queue: `queue.schedules`.

    await queue.schedules.upsert("daily", send_report, Report("sales"), cron="0 9 * * *", tz="Europe/Berlin")
    await queue.schedules.upsert("poll", "poll", every=30_000)
    """

    def __init__(
        self,
        keys: Keys,
        ready: Callable[[], Awaitable[Link]],
        max_payload: int,
        add: Callable[[Iterable[NewJob]], Awaitable[list[Job[Any, Any]]]],
    ) -> None:
        self._keys = keys
        self._ready = ready
        self._max_payload = max_payload
        self._add = add

    def __repr__(self) -> str:
        return f"<Schedules of {self._keys.queue}>"

    @overload
    async def upsert(
        self, id: str, name: Target[D, R], data: D, **when_and_options: Unpack[UpsertOptions]
    ) -> Schedule: ...
    @overload
    async def upsert(self, id: str, name: Target[None, R], **when_and_options: Unpack[UpsertOptions]) -> Schedule: ...
    @overload
    async def upsert(
        self, id: str, name: str, data: Any = UNSET, **when_and_options: Unpack[UpsertOptions]
    ) -> Schedule: ...
    async def upsert(
        self,
        id: str,
        name: Any,
        data: Any = UNSET,
        *,
        cron: str | None = None,
        tz: str | None = None,
        every: int | timedelta | None = None,
        offset: int | timedelta | None = None,
        limit: int | None = None,
        start: datetime | int | None = None,
        end: datetime | int | None = None,
        immediately: bool = False,
        misfire: Misfire = "once",
        misfire_after: int | timedelta = MISFIRE_AFTER,
        overlap: Overlap = "allow",
        **options: Any,
    ) -> Schedule:
        """Add a schedule, or change the one with this id. A change takes effect at once and replaces the next run.

        id: your name for the schedule. name, data, options: of its runs, as for `Queue.add`, without the options that the
        schedule sets itself (delay, run_at, job_id, timestamp, parent, deduplication).
        cron: five fields (minute hour day month weekday), six with seconds first, or a word such as `@daily`. tz: its IANA
        time zone; the default is UTC. Or every: ms or timedelta between runs, the first run now. offset: ms or timedelta;
        runs are then at multiples of `every`, later by `offset`.
        start, end: no run before or after, aware datetimes or Unix ms; with `every` the first run is at `start`.
        limit: runs in all, counted from this call. immediately: one extra run now.
        misfire: what happens to a run that starts more than `misfire_after` (ms or timedelta) late, for example because no
        worker ran. "once" runs it, and no other missed run; "skip" does not run it; a number runs so many of the missed
        runs, the latest ones, the late run included.
        overlap: while an earlier run has not finished, "allow" starts the next run, "skip" does not, "queue" lets one wait.

        An upsert without a change keeps the time of the next run. Raises InvalidOption, InvalidName or InvalidInput, also if
        no run would ever come; nothing is written then.
        """
        check_schedule_id(id)
        signature = None if isinstance(name, str) and name else signature_of(name)
        if signature is not None:
            name = signature.name
        for option, why in _REFUSED.items():
            if options.get(option) is not None:
                raise InvalidOption(f"{option}: {why}")
        checked = JobOptions.check(options)
        flag("immediately", immediately)
        table = Timetable.check(
            cron=cron,
            tz=tz,
            every=every,
            offset=offset,
            limit=limit,
            start=start,
            end=end,
            misfire=misfire,
            misfire_after=misfire_after,
            overlap=overlap,
        )
        if immediately and (start is not None or offset is not None):
            raise InvalidOption(
                "immediately: start= and offset= set the first run; leave out either immediately= or these"
            )
        encoded = encode_data({} if data is UNSET else data, signature)
        codec.check_size("data", encoded, min(self._max_payload, checked.size_limit or self._max_payload))
        template = b"{}" if checked is NO_OPTIONS else checked.to_wire()
        link = await self._ready()
        for _ in range(_TRIES):
            found = await list_schedules(link, self._keys, ids=[id])
            stored = found.schedules[0]
            keep, times = _times(table, stored, found.now, immediately)
            if not times:
                raise InvalidOption(
                    f"end: no run is due before {from_ms(table.end or 0)}; give a later end=, or remove the schedule"
                )
            if table.every is not None and table.offset is None:
                offset_before = stored.fields.get("offset") if keep and stored is not None else None
                table = msgspec.structs.replace(
                    table, offset=int(offset_before) if offset_before else times[0] % table.every
                )
            fields: dict[str, str | bytes] = {"name": name, **table.fields()}
            if template != b"{}":
                fields["opts"] = template
            if encoded != b"{}":
                fields["data"] = encoded
            upserted = await upsert_schedule(
                link,
                self._keys,
                id=id,
                due=None if stored is None else stored.due,
                keep=keep,
                times=times,
                name=name,
                data=encoded,
                head=run_options(template, table, id, 1),
                priority=checked.priority,
                lifo=checked.lifo,
                fields=fields,
            )
            if not isinstance(upserted, NotUpserted):
                shown = {name: value if isinstance(value, str) else value.decode() for name, value in fields.items()}
                return _shown(StoredSchedule(id, upserted, shown))
        raise WrongState(
            f"schedule {id!r} was changed by others at each of {_TRIES} tries; nothing was written; try again"
        )

    async def get(self, id: str) -> Schedule | None:
        """The schedule with this id; None if there is none."""
        stored = await self._find(id)
        return None if stored is None else _shown(stored)

    async def list(self, start: int = 0, end: int = 99) -> list[Schedule]:
        """A page of the schedules, in order of their next run: positions `start` to `end`, both included, from 0."""
        link, shown = await self._ready(), []
        for first in range(start, end + 1, PER_CALL):
            page = first, min(end, first + PER_CALL - 1)
            found = (await list_schedules(link, self._keys, page=page)).schedules
            shown += [_shown(stored) for stored in found if stored is not None and stored.fields]
            if len(found) < PER_CALL:
                break
        return shown

    async def remove(self, id: str) -> bool:
        """Remove a schedule and its next run; False if it does not exist. A run that has started finishes."""
        return await remove_schedule(await self._ready(), self._keys, id=id)

    async def run_now(self, id: str) -> Job[Any, Any]:
        """Add an extra job with the schedule's name, data and options; its own runs stay as they are. Raises ScheduleNotFound."""
        stored = await self._find(id)
        if stored is None:
            raise ScheduleNotFound(id, self._keys.queue)
        schedule = _shown(stored)
        job = NewJob(schedule.name, schedule.data)
        job.options = schedule.options
        return (await self._add([job]))[0]

    async def _find(self, id: str) -> StoredSchedule | None:
        stored = (await list_schedules(await self._ready(), self._keys, ids=[id])).schedules[0]
        return stored if stored is not None and stored.fields else None


def _times(table: Timetable, stored: StoredSchedule | None, now: int, immediately: bool) -> tuple[bool, list[int]]:
    """Whether the next run keeps its time; and if not, candidate times for it, in Unix ms."""
    if immediately:
        return False, [now + later for later in range(4)] if table.end is None or now <= table.end else []
    times = table.first(now)
    if stored is None:
        return False, times
    try:
        was = Timetable.read(stored.fields)
    except InvalidOption:
        return False, times
    keep = table.same_times(was) and (table.end is None or stored.due <= table.end)
    # Without a next run, `every` continues from the last run.
    return keep, (_continued(table, was, stored.due, now) if keep and table.every is not None else times)


def _continued(table: Timetable, was: Timetable, due: int, now: int) -> list[int]:
    return msgspec.structs.replace(table, offset=was.offset, catch_up=1).following(due, now)


def read_table(fields: Mapping[str, str], options: bytes) -> Timetable:
    """The timetable of a stored schedule. `fields`: its hash; `options`: of its jobs, or of its next run, as JSON.

    BullMQ 5.30 and earlier keep a part of it only in the options of the runs. Raises InvalidOption if neither has a time.
    """
    repeat = _repeat(options)
    stored = {name: str(value) for name, value in repeat.items() if isinstance(value, str | int | float)}
    if ("every" in fields) == ("pattern" in fields) and ("every" in stored or "pattern" in stored):
        # BullMQ 5.30 leaves both when one replaces the other.
        fields = {name: value for name, value in fields.items() if name not in _TIMES}
        fields |= {name: value for name, value in stored.items() if name in _TIMES}
    return Timetable.read({name: stored[name] for name in _BOUNDS if name in stored} | dict(fields))


def run_options(template: bytes, table: Timetable, id: str, count: int, runs: str = "") -> bytes:
    """The options of run number `count` of a schedule, as JSON cut off before the time in its id: scripts append the rest.

    `template`: options of its jobs, or of a run, from any producer; options that cannot be read are ignored.
    `runs`: prefix of the ids of its runs, up to the time; empty for `repeat:<id>:`.
    """
    own = {name: value for name, value in _object(template).items() if name not in _OWN}
    # BullMQ identifies its repeatable jobs by more fields than the times.
    others = {name: value for name, value in _repeat(template).items() if name not in (*_TIMES, *_BOUNDS)}
    repeat = {**others, **table.repeat(count)}
    options: dict[str, Any] = {**own, "repeat": repeat, "repeatJobKey": id, "jobId": runs or f"repeat:{id}:"}
    return msgspec.json.encode(options)[: -len('"}')]


def _object(text: bytes) -> dict[str, msgspec.Raw]:
    try:
        return _OBJECT.decode(text)
    except (ValueError, RecursionError):
        return {}


def _repeat(options: bytes) -> dict[str, Any]:
    try:
        return _REPEAT.decode(options).repeat
    except (ValueError, RecursionError):
        return {}


class _Repeating(Struct):
    repeat: dict[str, Any] = {}


_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_REPEAT = msgspec.json.Decoder(_Repeating)


def _shown(stored: StoredSchedule) -> Schedule:
    try:
        table = read_table(stored.fields, stored.options)
    except InvalidOption:
        # Stored by another program in a form unknown here: shown as it is.
        table = Timetable(pattern=stored.fields.get("pattern"), tz=stored.fields.get("tz") or "UTC")
    return Schedule(
        id=stored.id,
        name=stored.fields.get("name", ""),
        data=_value(stored.data),
        options=stored_options(stored),
        cron=table.pattern,
        tz=table.tz if table.pattern else None,
        every=table.every,
        offset=table.offset,
        limit=table.limit,
        start=to_datetime(table.start),
        end=to_datetime(table.end),
        misfire=table.misfire,
        misfire_after=table.misfire_after,
        overlap=table.overlap,
        next_run=None if stored.ended else to_datetime(stored.due),
        runs=stored.count,
    )


def stored_options(stored: StoredSchedule) -> JobOptions:
    """The options of its jobs; options that cannot be read are the defaults."""
    own = {name: value for name, value in _object(stored.options).items() if name not in _OWN}
    try:
        return read_options(msgspec.json.encode(own)) if own else NO_OPTIONS
    except (ValueError, RecursionError):
        return NO_OPTIONS


def _value(text: str) -> Any:
    encoded = text.encode(errors="surrogateescape")
    try:
        return codec.decode("data", encoded)
    except ValueError:
        return encoded.decode(errors="replace")
