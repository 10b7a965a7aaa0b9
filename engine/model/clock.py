"""Time on this machine, and durations: parsing, checks, conversion. Times stored in Redis are the server's."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

from engine.errors import InvalidOption
from engine.model.checks import is_whole, whole_number


def monotonic() -> float:
    """Monotonic time in seconds, for measuring durations."""
    return time.monotonic()


def from_ms(ms: int) -> datetime:
    """The aware datetime of a stored time in Unix milliseconds."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def to_ms(time: datetime) -> int:
    """Unix milliseconds of an aware datetime. Raises InvalidOption for one without a time zone."""
    return time_ms("timestamp", time)


def time_ms(name: str, value: datetime | int) -> int:
    """Unix milliseconds of an option that is an aware datetime, or Unix milliseconds already.

    Raises InvalidOption, naming the option, for anything else.
    """
    if not isinstance(value, datetime):
        return whole_number(name, value, hint="give Unix milliseconds or an aware datetime")
    if value.tzinfo is None:
        raise InvalidOption(f"{name}: {value!r} has no time zone; use datetime.now(UTC) or another aware datetime")
    return round(value.timestamp() * 1000)


def duration_ms(name: str, value: int | timedelta) -> int:
    """Whole milliseconds of a duration given as milliseconds or `timedelta`.

    Raises InvalidOption, naming the option, for anything else and for a negative duration.
    """
    if isinstance(value, timedelta):
        value = round(value.total_seconds() * 1000)
    if not is_whole(value):
        raise InvalidOption(f"{name}: {value!r} is not a duration; give whole milliseconds or a timedelta")
    if value < 0:
        raise InvalidOption(f"{name}: {value} is negative; give 0 or more milliseconds")
    if value > MAX_DURATION_MS:
        raise InvalidOption(f"{name}: {value} ms is over ten years, the limit; durations are in milliseconds")
    return value


def duration_s(name: str, value: int | timedelta) -> float:
    """Seconds of a duration given as whole milliseconds or `timedelta`, for timers. Raises InvalidOption as `duration_ms`."""
    return duration_ms(name, value) / 1000


def read_duration(name: str, text: str) -> int:
    """Whole milliseconds of a duration in text: `500ms`, `30s`, `2m`, `1h`, `7d`; a plain number is milliseconds.

    Raises InvalidOption, naming the option.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise InvalidOption(
            f"{name}: {text!r} is not a duration; write 500ms, 30s, 2m, 1h or 7d, or a number of milliseconds"
        )
    return duration_ms(name, int(found[1]) * _UNITS_MS[found[2]])


_UNITS_MS = {"": 1, "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"([0-9]{1,18})(ms|s|m|h|d|)")
MAX_DURATION_MS = 10 * 366 * 24 * 3600 * 1000
