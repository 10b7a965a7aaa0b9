"""Wall time for what is shown, monotonic time for durations. What is stored in Redis is the server's time instead."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from engine.errors import InvalidOption


def monotonic() -> float:
    """Seconds of a clock that never jumps."""
    return time.monotonic()


def from_ms(ms: int) -> datetime:
    """The aware datetime of a stored time in Unix milliseconds."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def to_ms(moment: datetime) -> int:
    """Unix milliseconds of an aware datetime."""
    if moment.tzinfo is None:
        raise InvalidOption(f"timestamp: {moment!r} has no time zone; use datetime.now(UTC) or another aware datetime")
    return round(moment.timestamp() * 1000)


def duration_ms(name: str, value: int | timedelta) -> int:
    """Whole milliseconds of a duration given as milliseconds or `timedelta`.

    Raises InvalidOption, naming the option, for anything else and for a negative duration.
    """
    if isinstance(value, timedelta):
        value = round(value.total_seconds() * 1000)
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidOption(f"{name}: {value!r} is not a duration; give whole milliseconds or a timedelta")
    if value < 0:
        raise InvalidOption(f"{name}: {value} is negative; give 0 or more milliseconds")
    if value > MAX_DURATION_MS:
        raise InvalidOption(f"{name}: {value} ms is over ten years; is it in microseconds?")
    return value


MAX_DURATION_MS = 10 * 366 * 24 * 3600 * 1000
