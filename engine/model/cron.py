"""When a schedule runs: cron patterns and intervals, in Unix milliseconds. Knows time zones; knows neither Redis nor jobs.

A cron pattern that names its hours and minutes runs at those times of the wall clock, each once: what falls into the hour
that spring skips runs as soon as that hour is over, what falls into the hour that autumn repeats runs the first time only. One
with `*` in its hours or minutes runs by time that passes.
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
"""Missed runs that are made up for at most."""
MISFIRE_AFTER: Final = 60_000
"""Milliseconds after which a run counts as missed, unless a schedule says otherwise."""
CHOICE: Final = 8
"""Times offered for a next run: the first may be taken by a job that has run already."""

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
    """The times of a cron pattern: five fields, or six with the seconds first, or a word such as `@daily`.

    Raises InvalidOption, naming the field, for a pattern or a time zone that is none.
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
                f"cron: {pattern!r} is no pattern ({error}); it has five fields, minute hour day month weekday, such as"
                " '30 9 * * MON-FRI', or six with the seconds first"
            ) from None
        minute, hour = fields[-5:-3]
        self._by_wall_clock = not (minute.startswith("*") or hour.startswith("*"))

    def after(self, ms: int) -> Iterator[int]:
        """The times after `ms`, each later than the one before."""
        begin = self._shown(ms)
        if not self._by_wall_clock:
            begin -= _comes_again(begin.replace(tzinfo=self._zone))
        last, coming = ms, list[int]()
        # The wall's times are gone through as if no clock were ever put; what each stands for is looked up. Those of the hour that
        # comes twice are kept until they are next.
        for local in CronSim(self.pattern, begin):
            moments = self._moments(local)
            for found in moments:
                heappush(coming, found)
            while coming and (not moments or coming[0] <= moments[0]):
                # Two times of the wall may stand for one moment.
                if (found := heappop(coming)) > last:
                    last = found
                    yield found

    def latest(self, count: int, after: int, now: int) -> list[int]:
        """The last `count` times that are later than `after` and not later than `now`."""
        # Backwards only to find where to begin: what the times are, `after` says.
        back: set[int] = set()
        for local in CronSim(self.pattern, self._shown(now), reverse=True):
            back.update(self._moments(local)[:1])
            if len(back) == count or min(back, default=now) <= after:
                break
        begin = max(after, min(back, default=after) - 1)
        return list(deque(takewhile(lambda time: time <= now, self.after(begin)), maxlen=count))

    def _shown(self, ms: int) -> datetime:
        """What a clock on the wall shows."""
        return datetime.fromtimestamp(ms // 1000, self._zone).replace(tzinfo=None)

    def _moments(self, local: datetime) -> list[int]:
        """The moments for which a time of the wall stands: one; none or two where the clock is put."""
        first = local.replace(tzinfo=self._zone)
        while not _is_real(first):
            if not self._by_wall_clock:
                return []
            first += timedelta(minutes=1)  # on to the end of the gap
        found = [int(first.timestamp()) * 1000]
        if not self._by_wall_clock and (second := int(first.replace(fold=1).timestamp()) * 1000) != found[0]:
            found.append(second)
        return found


def _comes_again(local: datetime) -> timedelta:
    """How far back the clock is put at the end of the time around `local`, which then comes twice; 0 where it does not."""
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
            f"tz: {name!r} is no time zone of the IANA database; use one such as 'Europe/Berlin'"
        ) from None


class Timetable(Struct, frozen=True, kw_only=True):
    """When a schedule's runs are due, and what becomes of those that cannot be in time. Times and durations are ms."""

    pattern: str | None = None
    tz: str = "UTC"
    every: int | None = None
    offset: int | None = None
    limit: int | None = None
    start: int | None = None
    end: int | None = None
    made_up: int = 1
    """Missed runs that are made up for: 0 skips even the one that is late."""
    late: int = MISFIRE_AFTER
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
        """What a user asked for. Raises InvalidOption, naming the option."""
        if (cron is None) == (every is None):
            said = "neither is given" if cron is None else "both are given"
            raise InvalidOption(f"cron, every: {said}; a schedule has one of the two")
        pattern = None
        if cron is not None:
            if not isinstance(cron, str):
                raise InvalidOption(f"cron: {cron!r} is not text; write a pattern such as '0 9 * * *'")
            if offset is not None:
                raise InvalidOption("offset: it moves the runs of `every`; a cron pattern says its times itself")
            tz = "UTC" if tz is None else tz
            checked = Cron(cron, tz)
            pattern = checked.pattern
            if next(checked.after(0), None) is None:
                raise InvalidOption(f"cron: {cron!r} names no day that ever comes")
        else:
            if tz is not None:
                raise InvalidOption(
                    "tz: it is for a cron pattern; `every` runs by time that passes, the same everywhere"
                )
            every = duration_ms("every", every)
            if every < 1:
                raise InvalidOption("every: 0 ms is no interval; give 1 or more")
            if offset is not None:
                offset = duration_ms("offset", offset)
                if offset >= every:
                    raise InvalidOption(f"offset: {offset} ms is not below `every`, which is {every}")
                if start is not None:
                    raise InvalidOption("offset: `start` says already when the first run is; leave one of the two out")
        start = None if start is None else time_ms("start", start)
        end = None if end is None else time_ms("end", end)
        if start is not None and end is not None and end < start:
            raise InvalidOption("end: it is before `start`, so that no run would be in between")
        if limit is not None:
            whole_number("limit", limit, 1, LARGEST, "it counts runs; leave it out for no limit")
        if overlap not in ("allow", "skip", "queue"):
            raise InvalidOption(f"overlap: {overlap!r} is none of 'allow', 'skip' and 'queue'")
        return cls(
            pattern=pattern,
            tz=tz or "UTC",
            every=every,
            offset=offset,
            limit=limit,
            start=start,
            end=end,
            made_up=_made_up(misfire),
            late=duration_ms("misfire_after", misfire_after),
            overlap=overlap,
        )

    @classmethod
    def read(cls, fields: Mapping[str, str]) -> Timetable:
        """A stored one, whoever stored it. Raises InvalidOption where it says no times at all."""
        every, overlap = _stored(fields.get("every")), fields.get("overlap")
        pattern = None if every else fields.get("pattern")
        tz = fields.get("tz") or "UTC"
        if not every and not pattern:
            raise InvalidOption("cron, every: the stored schedule has neither; upsert it again")
        if pattern:
            cron_of(pattern, tz)
        made_up, late = _stored(fields.get("misfire")), _stored(fields.get("late"))
        return cls(
            pattern=pattern,
            tz=tz,
            every=every or None,
            offset=_stored(fields.get("offset")) if every else None,
            limit=_stored(fields.get("limit")),
            start=_stored(fields.get("startDate")),
            end=_stored(fields.get("endDate")),
            made_up=1 if made_up is None else min(made_up, MAX_CATCH_UP),
            late=MISFIRE_AFTER if late is None else late,
            overlap="skip" if overlap == "skip" else "queue" if overlap == "queue" else "allow",
        )

    def fields(self) -> dict[str, str]:
        """As a schedule's hash has it. `misfire`, `late` and `overlap` are ours alone, and left out where they say nothing."""
        said = {
            "tz": self.tz if self.pattern else None,
            "pattern": self.pattern,
            "every": self.every,
            "offset": self.offset,
            "limit": self.limit,
            "startDate": self.start,
            "endDate": self.end,
            "misfire": None if self.made_up == 1 else self.made_up,
            "late": None if self.late == MISFIRE_AFTER else self.late,
            "overlap": None if self.overlap == "allow" else self.overlap,
        }
        return {name: str(value) for name, value in said.items() if value is not None}

    def repeat(self, count: int) -> dict[str, Any]:
        """`opts.repeat` of the run with that number, from 1."""
        said = {
            "pattern": self.pattern,
            "tz": self.tz if self.pattern else None,
            "every": self.every,
            "offset": self.offset,
            "limit": self.limit,
            "startDate": self.start,
            "endDate": self.end,
        }
        return {name: value for name, value in said.items() if value is not None} | {"count": count}

    @property
    def misfire(self) -> Misfire:
        return "skip" if self.made_up == 0 else "once" if self.made_up == 1 else self.made_up

    def same_times(self, other: Timetable) -> bool:
        """Whether a run that waits at a time of the other's may keep it."""
        return (self.pattern, self.tz, self.every, self.start) == (
            other.pattern,
            other.tz,
            other.every,
            other.start,
        ) and (self.offset is None or self.offset == other.offset)

    def first(self, now: int) -> list[int]:
        """Times for the first run, the best first: in the future, or now."""
        if self.pattern is not None:
            return self._choose(
                cron_of(self.pattern, self.tz).after(now if self.start is None else max(now, self.start - 1))
            )
        assert self.every is not None
        if self.start is not None:
            return self._choose(self._steps(max(self.start, now)))
        return self._choose(self._steps(now if self.offset is None else self._on_grid(now)))

    def following(self, due: int, now: int) -> list[int]:
        """Times for the run after the one that was due at `due`, the best first; empty where no run follows.

        Of the times that have passed, the last few are given if they are to be made up for, and else none.
        """
        making_up = max(self.made_up, 1) - 1
        if self.pattern is not None:
            cron = cron_of(self.pattern, self.tz)
            # One more than may be made up tells whether all that was missed is.
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


def _made_up(misfire: Any) -> int:
    if misfire == "skip":
        return 0
    if misfire == "once":
        return 1
    if not is_whole(misfire) or not 1 <= misfire <= MAX_CATCH_UP:
        raise InvalidOption(
            f"misfire: {misfire!r} is none of 'skip', 'once' and the missed runs to make up for, 1 to {MAX_CATCH_UP}"
        )
    return misfire


def _stored(text: str | None) -> int | None:
    """A number of any producer; None where there is none, or what is there is none."""
    try:
        return None if text is None else max(0, int(float(text)))
    except (ValueError, OverflowError):
        return None
