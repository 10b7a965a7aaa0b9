"""Run times of schedules: cron patterns and intervals, in Unix milliseconds. Knows time zones; knows neither Redis nor jobs.

Daylight saving time: a pattern that names its hours and minutes runs once at each wall-clock time. A time in the hour that
spring skips runs at the end of that hour; a time in the hour that autumn repeats runs the first time only. A pattern with `*` in
its hours or minutes runs by elapsed time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from heapq import heappop, heappush
from itertools import islice, takewhile
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from msgspec import Struct

from engine.errors import InvalidOption
from engine.model.checks import LARGEST, is_whole, whole_number
from engine.model.clock import duration_ms, time_ms

Misfire = Literal["skip", "once"] | int
Overlap = Literal["allow", "skip", "queue"]

MAX_CATCH_UP: Final = 100
"""Most missed runs that are caught up."""
MISFIRE_AFTER: Final = 60_000
"""Default lateness, in ms, from which a run counts as missed."""
CHOICE: Final = 8
"""How many candidate times a next run has: a finished job may have the id of the first."""

_WORDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
    "@minutely": "* * * * *",
    "@secondly": "* * * * * *",
}
_ANY = datetime(2000, 1, 1)


class Cron:
    """The times of a cron pattern: five fields, six with the seconds first, or a word such as `@daily`.

    Raises InvalidOption, naming the field, for an invalid pattern or time zone.
    """

    def __init__(self, pattern: str, tz: str) -> None:
        # `?` is what other libraries take for "any" in the two fields of days.
        self.pattern = _WORDS.get(pattern.strip().lower(), pattern).replace("?", "*")
        self._zone = zone(tz)
        fields = self.pattern.split()
        try:
            CronSim(self.pattern, _ANY)
        except (CronSimError, ValueError) as error:
            raise InvalidOption(
                f"cron: {pattern!r} is not a cron pattern ({error}); give five fields, minute hour day month weekday, such as"
                " '30 9 * * MON-FRI', or six with the seconds first"
            ) from None
        minute, hour = fields[-5:-3]
        self._by_wall_clock = not (minute.startswith("*") or hour.startswith("*"))

    def after(self, ms: int) -> Iterator[int]:
        """The times after `ms`, in ascending order."""
        begin = self._wall_time(ms)
        if not self._by_wall_clock:
            begin -= _set_back(begin.replace(tzinfo=self._zone))
        last, coming = ms, list[int]()
        # CronSim walks wall-clock times as if there were no daylight saving; each is then converted. Those of the hour that occurs
        # twice wait in `coming` until they are next.
        for local in CronSim(self.pattern, begin):
            times = self._unix_times(local)
            for found in times:
                heappush(coming, found)
            while coming and (not times or coming[0] <= times[0]):
                # Two wall-clock times may be one Unix time.
                if (found := heappop(coming)) > last:
                    last = found
                    yield found

    def latest(self, count: int, after: int, now: int) -> list[int]:
        """The last `count` times that are later than `after` and not later than `now`."""
        # Backwards only to find where to begin; `after` has the times themselves.
        back: set[int] = set()
        for local in CronSim(self.pattern, self._wall_time(now), reverse=True):
            back.update(self._unix_times(local)[:1])
            if len(back) == count or min(back, default=now) <= after:
                break
        begin = max(after, min(back, default=after) - 1)
        return list(deque(takewhile(lambda time: time <= now, self.after(begin)), maxlen=count))

    def _wall_time(self, ms: int) -> datetime:
        """The wall-clock time of a Unix time."""
        return datetime.fromtimestamp(ms // 1000, self._zone).replace(tzinfo=None)

    def _unix_times(self, local: datetime) -> list[int]:
        """The Unix times of a wall-clock time: one; none or two where daylight saving time changes."""
        first = local.replace(tzinfo=self._zone)
        while not _is_real(first):
            if not self._by_wall_clock:
                return []
            first += timedelta(minutes=1)  # on to the end of the gap
        found = [int(first.timestamp()) * 1000]
        if not self._by_wall_clock and (second := int(first.replace(fold=1).timestamp()) * 1000) != found[0]:
            found.append(second)
        return found


def _set_back(local: datetime) -> timedelta:
    """How far the clock is set back around `local`, a time that then occurs twice; 0 if it occurs once."""
    once, again = local.replace(fold=0).utcoffset(), local.replace(fold=1).utcoffset()
    return max(timedelta(), (once or timedelta()) - (again or timedelta()))


def _is_real(local: datetime) -> bool:
    return local.astimezone(UTC).astimezone(local.tzinfo).replace(tzinfo=None) == local.replace(tzinfo=None)


def cron_of(pattern: str, tz: str) -> Cron:
    """The cron pattern's times. Raises InvalidOption. Patterns of a usual length are cached."""
    return _known_cron(pattern, tz) if len(pattern) <= 256 else Cron(pattern, tz)


_known_cron = lru_cache(maxsize=1024)(Cron)


@lru_cache(maxsize=1024)
def zone(name: str) -> tzinfo:
    """The time zone of that name. Raises InvalidOption."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError, TypeError):
        raise InvalidOption(
            f"tz: {name!r} is not a time zone of the IANA database; use a name such as 'Europe/Berlin'"
        ) from None


class Timetable(Struct, frozen=True, kw_only=True):
    """When a schedule's runs are due, and what happens to missed and overlapping ones. Times and durations are ms."""

    pattern: str | None = None
    tz: str = "UTC"
    every: int | None = None
    offset: int | None = None
    limit: int | None = None
    start: int | None = None
    end: int | None = None
    catch_up: int = 1
    """How many missed runs are caught up; 0 skips even a single late run."""
    misfire_after: int = MISFIRE_AFTER
    overlap: Overlap = "allow"

    @classmethod
    def check(
        cls,
        *,
        cron: Any,
        tz: Any,
        every: Any,
        offset: Any,
        limit: Any,
        start: Any,
        end: Any,
        misfire: Any,
        misfire_after: Any,
        overlap: Any,
    ) -> Timetable:
        """A checked Timetable from a user's options. Raises InvalidOption, naming the option."""
        if (cron is None) == (every is None):
            given = "neither is given" if cron is None else "both are given"
            raise InvalidOption(f"cron, every: {given}; give exactly one of them")
        pattern = None
        if cron is not None:
            if not isinstance(cron, str):
                raise InvalidOption(f"cron: {cron!r} is not text; write a pattern such as '0 9 * * *'")
            if offset is not None:
                raise InvalidOption(
                    "offset: it shifts the runs of `every` and has no effect on a cron pattern; leave it out"
                )
            tz = "UTC" if tz is None else tz
            checked = Cron(cron, tz)
            pattern = checked.pattern
            if next(checked.after(0), None) is None:
                raise InvalidOption(f"cron: {cron!r} never runs; name a day that exists")
        else:
            if tz is not None:
                raise InvalidOption("tz: it has no effect on `every`, which runs by elapsed time; leave it out")
            every = duration_ms("every", every)
            if every < 1:
                raise InvalidOption("every: 0 ms is not an interval; give 1 or more milliseconds, or a timedelta")
            if offset is not None:
                offset = duration_ms("offset", offset)
                if offset >= every:
                    raise InvalidOption(f"offset: {offset} ms is not below `every`, which is {every} ms; give less")
                if start is not None:
                    raise InvalidOption("offset: `start` sets the first run already; leave one of the two out")
        start = None if start is None else time_ms("start", start)
        end = None if end is None else time_ms("end", end)
        if start is not None and end is not None and end < start:
            raise InvalidOption("end: it is before `start`, so there would be no run; give a later end")
        if limit is not None:
            whole_number("limit", limit, 1, LARGEST, "it counts runs; leave it out for no limit")
        if overlap not in ("allow", "skip", "queue"):
            raise InvalidOption(f"overlap: {overlap!r} is not an overlap rule; give 'allow', 'skip' or 'queue'")
        return cls(
            pattern=pattern,
            tz=tz or "UTC",
            every=every,
            offset=offset,
            limit=limit,
            start=start,
            end=end,
            catch_up=_catch_up_count(misfire),
            misfire_after=duration_ms("misfire_after", misfire_after),
            overlap=overlap,
        )

    @classmethod
    def read(cls, fields: Mapping[str, str]) -> Timetable:
        """The Timetable of a stored schedule of any producer. Raises InvalidOption if it has neither cron nor every."""
        every, overlap = _stored(fields.get("every")), fields.get("overlap")
        pattern = None if every else fields.get("pattern")
        tz = fields.get("tz") or "UTC"
        if not every and not pattern:
            raise InvalidOption("cron, every: the stored schedule has neither; upsert it again")
        if pattern:
            cron_of(pattern, tz)
        catch_up, late = _stored(fields.get("misfire")), _stored(fields.get("late"))
        return cls(
            pattern=pattern,
            tz=tz,
            every=every or None,
            offset=_stored(fields.get("offset")) if every else None,
            limit=_stored(fields.get("limit")),
            start=_stored(fields.get("startDate")),
            end=_stored(fields.get("endDate")),
            catch_up=1 if catch_up is None else min(catch_up, MAX_CATCH_UP),
            misfire_after=MISFIRE_AFTER if late is None else late,
            overlap="skip" if overlap == "skip" else "queue" if overlap == "queue" else "allow",
        )

    def fields(self) -> dict[str, str]:
        """The fields of the schedule's hash. `misfire`, `late` and `overlap` are not BullMQ's, and are left out at their defaults."""
        stored = {
            "tz": self.tz if self.pattern else None,
            "pattern": self.pattern,
            "every": self.every,
            "offset": self.offset,
            "limit": self.limit,
            "startDate": self.start,
            "endDate": self.end,
            "misfire": None if self.catch_up == 1 else self.catch_up,
            "late": None if self.misfire_after == MISFIRE_AFTER else self.misfire_after,
            "overlap": None if self.overlap == "allow" else self.overlap,
        }
        return {name: str(value) for name, value in stored.items() if value is not None}

    def repeat(self, count: int) -> dict[str, Any]:
        """`opts.repeat` of the run with that number, from 1."""
        stored = {
            "pattern": self.pattern,
            "tz": self.tz if self.pattern else None,
            "every": self.every,
            "offset": self.offset,
            "limit": self.limit,
            "startDate": self.start,
            "endDate": self.end,
        }
        return {name: value for name, value in stored.items() if value is not None} | {"count": count}

    @property
    def misfire(self) -> Misfire:
        return "skip" if self.catch_up == 0 else "once" if self.catch_up == 1 else self.catch_up

    def same_times(self, other: Timetable) -> bool:
        """Whether a pending run that was scheduled by `other` may keep its time."""
        return (self.pattern, self.tz, self.every, self.start) == (
            other.pattern,
            other.tz,
            other.every,
            other.start,
        ) and (self.offset is None or self.offset == other.offset)

    def first(self, now: int) -> list[int]:
        """Candidate times of the first run, best first: now or in the future."""
        if self.pattern is not None:
            return self._choose(
                cron_of(self.pattern, self.tz).after(now if self.start is None else max(now, self.start - 1))
            )
        assert self.every is not None
        if self.start is not None:
            return self._choose(self._steps(max(self.start, now)))
        return self._choose(self._steps(now if self.offset is None else self._on_grid(now)))

    def following(self, due: int, now: int) -> list[int]:
        """Candidate times of the run after the one due at `due`, best first; empty if no run follows.

        Of the times that have passed, only those to be caught up are included, the latest.
        """
        making_up = max(self.catch_up, 1) - 1  # the next run itself is one of those caught up
        if self.pattern is not None:
            cron = cron_of(self.pattern, self.tz)
            missed = cron.latest(making_up, due, now) if making_up else []
            return self._choose(cron.after(missed[0] - 1 if missed else max(due, now)))
        assert self.every is not None
        following = due + self.every
        missed_runs = 0 if following >= now else (now - following) // self.every + 1
        if missed_runs > making_up:
            following = following + (missed_runs - making_up) * self.every if making_up else self._on_grid(now, due)
        return self._choose(self._steps(following))

    def _on_grid(self, now: int, due: int = 0) -> int:
        assert self.every is not None
        offset = due % self.every if self.offset is None else self.offset
        found = now // self.every * self.every + offset
        return found if found > now else found + self.every

    def _steps(self, first: int) -> Iterator[int]:
        assert self.every is not None
        return iter(range(first, first + CHOICE * self.every, self.every))

    def _choose(self, times: Iterator[int]) -> list[int]:
        found = islice(times, CHOICE)
        return list(found if self.end is None else takewhile(lambda time: time <= (self.end or 0), found))


def _catch_up_count(misfire: Any) -> int:
    if misfire == "skip":
        return 0
    if misfire == "once":
        return 1
    if not is_whole(misfire) or not 1 <= misfire <= MAX_CATCH_UP:
        raise InvalidOption(
            f"misfire: {misfire!r} is not a misfire rule; give 'skip', 'once', or how many missed runs to catch up, 1 to {MAX_CATCH_UP}"
        )
    return misfire


def _stored(text: str | None) -> int | None:
    """A number stored by any producer; None if it is missing or unreadable."""
    try:
        return None if text is None else max(0, int(float(text)))
    except (ValueError, OverflowError):
        return None
