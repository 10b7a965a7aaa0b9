"""Run times of schedules: cron, intervals, daylight saving time, missed runs, start and end."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import takewhile
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from engine.errors import InvalidOption
from engine.model.cron import MISFIRE_AFTER, Cron, Timetable

SHIFTS = [
    ("Europe/Berlin", date(2026, 3, 29)),
    ("Europe/Berlin", date(2026, 10, 25)),
    ("America/New_York", date(2026, 3, 8)),
    ("America/New_York", date(2026, 11, 1)),
    ("Australia/Lord_Howe", date(2026, 4, 5)),  # by half an hour
    ("Australia/Lord_Howe", date(2026, 10, 4)),
    ("America/Santiago", date(2026, 9, 6)),  # at midnight: the day begins at one
    ("Asia/Kolkata", date(2026, 3, 29)),  # never
]


def ms(moment: datetime) -> int:
    return int(moment.timestamp()) * 1000


def window(tz: str, day: date) -> tuple[int, int]:
    """From the day before to the day after."""
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo(tz))
    return ms(noon - timedelta(days=2)), ms(noon + timedelta(days=2))


def real(local: datetime) -> bool:
    """Whether the clock on the wall ever shows this."""
    return local.astimezone(UTC).astimezone(local.tzinfo).replace(tzinfo=None) == local.replace(tzinfo=None)


def times(pattern: str, tz: str, begin: int, end: int) -> list[int]:
    return list(takewhile(lambda time: time <= end, Cron(pattern, tz).after(begin)))


@pytest.mark.parametrize(("tz", "day"), SHIFTS)
@pytest.mark.parametrize(
    ("pattern", "hours", "minutes"),
    [
        ("30 2 * * *", [2], [30]),
        ("0,30 1-3 * * *", [1, 2, 3], [0, 30]),
        ("15 0,2,12 * * *", [0, 2, 12], [15]),
        ("0 30 2 * * *", [2], [30]),  # with seconds
        ("59 23 * * *", [23], [59]),
    ],
)
def test_a_time_of_day_runs_once_or_after_the_skipped_hour(
    tz: str, day: date, pattern: str, hours: list[int], minutes: list[int]
) -> None:
    begin, end = window(tz, day)
    wanted = set()
    for shift in range(-3, 4):
        at = day + timedelta(days=shift)
        for hour in hours:
            for minute in minutes:
                local = datetime(at.year, at.month, at.day, hour, minute, tzinfo=ZoneInfo(tz))
                while not real(local):
                    local += timedelta(minutes=1)
                wanted.add(ms(local))
    assert times(pattern, tz, begin, end) == sorted(time for time in wanted if begin < time <= end)


@pytest.mark.parametrize(("tz", "day"), SHIFTS)
@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("*/15 * * * *", lambda local: local.minute % 15 == 0),
        ("30 * * * *", lambda local: local.minute == 30),
        ("* 2 * * *", lambda local: local.hour == 2),
        ("0 */2 * * *", lambda local: local.minute == 0 and local.hour % 2 == 0),
    ],
)
def test_what_comes_every_so_often_comes_by_time_that_passes(tz: str, day: date, pattern: str, matches: Any) -> None:
    begin, end = window(tz, day)
    zone = ZoneInfo(tz)
    every_minute = range(begin // 60_000 * 60_000 + 60_000, end + 1, 60_000)
    wanted = [time for time in every_minute if matches(datetime.fromtimestamp(time / 1000, zone))]
    assert times(pattern, tz, begin, end) == wanted


@pytest.mark.parametrize(("tz", "day"), SHIFTS)
def test_the_next_time_is_the_same_from_wherever_one_asks(tz: str, day: date) -> None:
    begin, end = window(tz, day)
    for pattern in ("30 2 * * *", "0,30 1-3 * * *", "*/20 * * * *"):
        wanted = times(pattern, tz, begin, end)
        cron = Cron(pattern, tz)
        for asked in range(begin, end, 7 * 60_000):
            later = [time for time in wanted if time > asked]
            if later:
                assert next(cron.after(asked)) == later[0]
            passed = [time for time in wanted if time <= asked]
            assert cron.latest(3, begin, asked) == passed[-3:]


@pytest.mark.parametrize(
    ("pattern", "moment", "wanted"),
    [
        ("@daily", "2026-05-01T10:00:00", "2026-05-02T00:00:00"),
        ("@hourly", "2026-05-01T10:00:00", "2026-05-01T11:00:00"),
        ("@weekly", "2026-05-01T10:00:00", "2026-05-03T00:00:00"),
        ("@monthly", "2026-05-01T10:00:00", "2026-06-01T00:00:00"),
        ("@yearly", "2026-05-01T10:00:00", "2027-01-01T00:00:00"),
        ("*/10 * * * * *", "2026-05-01T10:00:05", "2026-05-01T10:00:10"),
        ("0 12 ? * MON-FRI", "2026-05-01T12:00:00", "2026-05-04T12:00:00"),
        ("0 0 29 2 *", "2026-05-01T10:00:00", "2028-02-29T00:00:00"),
        ("0 0 L * *", "2026-02-01T00:00:00", "2026-02-28T00:00:00"),
    ],
)
def test_words_seconds_and_days(pattern: str, moment: str, wanted: str) -> None:
    asked = ms(datetime.fromisoformat(moment).replace(tzinfo=UTC))
    assert next(Cron(pattern, "UTC").after(asked)) == ms(datetime.fromisoformat(wanted).replace(tzinfo=UTC))


NOTHING = dict.fromkeys(("cron", "tz", "every", "offset", "limit", "start", "end")) | {
    "misfire": "once",
    "misfire_after": MISFIRE_AFTER,
    "overlap": "allow",
}


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({}, "cron, every: neither"),
        ({"cron": "* * * * *", "every": 5}, "cron, every: both"),
        ({"cron": "61 * * * *"}, "cron: '61"),
        ({"cron": "* * *"}, "cron: '* * *'"),
        ({"cron": "@reboot"}, "cron: '@reboot'"),
        ({"cron": ""}, "cron: ''"),
        ({"cron": 5}, "cron: 5"),
        ({"cron": "0 0 30 2 *"}, "cron: '0 0 30 2"),
        ({"cron": "* * * * *", "tz": "Mars/Olympus"}, "tz: 'Mars"),
        ({"cron": "* * * * *", "tz": "../etc/passwd"}, "tz: '../etc"),
        ({"cron": "* * * * *", "tz": ""}, "tz: ''"),
        ({"cron": "* * * * *", "tz": 5}, "tz: 5"),
        ({"cron": "* * * * *", "offset": 5}, "offset: it shifts"),
        ({"every": 0}, "every: 0 ms"),
        ({"every": -5}, "every: -5"),
        ({"every": 1.5}, "every: 1.5"),
        ({"every": 5, "tz": "UTC"}, "tz: it has no effect on"),
        ({"every": 5, "offset": 5}, "offset: 5 ms"),
        ({"every": 5, "offset": 1, "start": 9}, "offset: `start`"),
        ({"every": 5, "limit": 0}, "limit: 0"),
        ({"every": 5, "limit": True}, "limit: True"),
        ({"every": 5, "start": 9, "end": 8}, "end: it is before"),
        ({"every": 5, "start": datetime(2026, 1, 1)}, "start: datetime"),
        ({"every": 5, "end": "tomorrow"}, "end: 'tomorrow'"),
        ({"every": 5, "misfire": "never"}, "misfire: 'never'"),
        ({"every": 5, "misfire": 101}, "misfire: 101"),
        ({"every": 5, "misfire_after": -1}, "misfire_after: -1"),
        ({"every": 5, "overlap": "replace"}, "overlap: 'replace'"),
    ],
)
def test_what_cannot_be_is_refused_by_name(said: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidOption) as refused:
        Timetable.check(**(NOTHING | said))
    assert str(refused.value).startswith(named)


def checked(**said: Any) -> Timetable:
    return Timetable.check(**(NOTHING | said))


def test_what_is_stored_is_read_back() -> None:
    for table in (
        checked(cron="@daily", tz="Europe/Berlin", limit=3, start=5, end=10**12, misfire="skip", overlap="queue"),
        checked(every=timedelta(seconds=30), offset=50, misfire=7, misfire_after=5, overlap="skip"),
        checked(every=1, start=datetime(2026, 1, 1, tzinfo=UTC)),
    ):
        assert Timetable.read(table.fields()) == table


def test_intervals_begin_at_once_at_the_start_or_on_the_grid() -> None:
    assert checked(every=100).first(now=1_234)[:3] == [1_234, 1_334, 1_434]
    assert checked(every=100, start=5_000).first(now=1_234)[0] == 5_000
    assert checked(every=100, start=1_000).first(now=1_234)[0] == 1_234
    assert checked(every=100, offset=50).first(now=1_234)[0] == 1_250
    assert checked(every=100, offset=34).first(now=1_234)[0] == 1_334
    assert checked(cron="0 0 * * *", start=86_400_000).first(now=5)[0] == 86_400_000


@pytest.mark.parametrize(
    ("misfire", "due", "now", "wanted"),
    [
        ("once", 1_000, 1_001, 1_100),
        ("once", 1_000, 1_100, 1_100),
        ("once", 1_000, 1_499, 1_500),
        ("once", 1_000, 1_500, 1_600),
        ("skip", 1_000, 1_499, 1_500),
        (1, 1_000, 1_499, 1_500),
        (3, 1_000, 1_001, 1_100),
        (3, 1_000, 1_250, 1_100),  # 1,100 and 1,200 are two besides the late one
        (3, 1_000, 1_499, 1_300),
        (3, 1_300, 1_499, 1_400),
        (3, 1_400, 1_499, 1_500),
    ],
)
@pytest.mark.parametrize("cron", [False, True])
def test_after_a_pause_as_many_runs_follow_as_the_policy_says(
    misfire: Any, due: int, now: int, wanted: int, cron: bool
) -> None:
    if not cron:
        assert checked(every=100, misfire=misfire).following(due, now)[0] == wanted
        return
    # The same in minutes; a cron pattern has no run at the very moment of asking.
    table = checked(cron="* * * * *", misfire=misfire)
    if now % 100:
        assert table.following(due * 600, now * 600)[0] == wanted * 600


def test_nothing_follows_the_end() -> None:
    assert checked(every=100, end=1_250).following(1_000, 1_001) == [1_100, 1_200]
    assert checked(every=100, end=1_050).following(1_000, 1_001) == []
    assert checked(cron="* * * * *", end=60_000).following(0, 5) == [60_000]
    assert checked(cron="* * * * *", end=59_999).following(0, 5) == []
    assert checked(every=100, offset=0, end=50).first(now=10) == []
