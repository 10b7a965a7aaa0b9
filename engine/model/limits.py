"""What a user may say of how fast a queue's jobs start, and how many run at once: checked when it is said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from engine.errors import InvalidOption, RateLimited
from engine.model.checks import flag, whole_number
from engine.model.clock import duration_ms
from engine.model.records import Delayed, Limited

_MOST = 1_000_000_000
_PER_MS = 1_000
"""Starts in a millisecond that a smoothed limit can tell apart."""


class RateLimit(Struct, frozen=True):
    """At most `max` jobs start in `duration` milliseconds; with `smooth` they are evenly spread."""

    max: int
    duration: int
    smooth: bool = False

    @classmethod
    def check(cls, name: str, max: Any, duration: Any, smooth: Any = False) -> RateLimit:
        """The limit that a caller asked for. `duration` in ms or as timedelta. Raises InvalidOption, naming what is wrong."""
        whole_number(f"{name}.max", max, 1, _MOST, "to start no job, pause the queue")
        ms = duration_ms(f"{name}.duration", duration)
        if ms < 1:
            raise InvalidOption(f"{name}.duration: {ms} ms is less than 1; durations are in milliseconds")
        if flag(f"{name}.smooth", smooth) and max > ms * _PER_MS:
            raise InvalidOption(
                f"{name}.max: {max:,} in {ms} ms are too many to be spread; at most {ms * _PER_MS:,}, or leave smooth out"
            )
        return cls(max, ms, smooth)


def worker_limit(value: Any) -> str:
    """A worker's own limit as claims take it: `{"max": 10, "duration": 1_000}`, a RateLimit, or None for none."""
    match value:
        case None:
            return ""
        case RateLimit():
            limit = RateLimit.check("limiter", value.max, value.duration, value.smooth)
        case Mapping() if value.keys() == {"max", "duration"}:
            limit = RateLimit.check("limiter", value["max"], value["duration"])
        case _:
            raise InvalidOption(f'limiter: {value!r} is not {{"max": jobs, "duration": ms}}')
    if limit.smooth:
        raise InvalidOption(
            "limiter.smooth: only a queue's limit is smoothed; call queue.set_rate_limit(..., smooth=True)"
        )
    return f"{limit.max},{limit.duration}"


def check_concurrency(value: Any) -> int:
    """How many jobs of a queue run at once. Raises InvalidOption."""
    return whole_number("concurrency", value, 1, _MOST, "to start no job, pause the queue")


def stored_limit(max: bytes | None, duration: bytes | None, smooth: bytes | None) -> RateLimit | None:
    """The limit in a queue's `meta`, whoever wrote it; None where there is none."""
    counted, spread = stored_number(max), stored_number(duration)
    return None if counted is None or spread is None else RateLimit(counted, spread, smooth is not None)


def stored_number(text: bytes | None) -> int | None:
    """A stored number of any program, 1 or more; None where there is none."""
    try:
        number = int(text) if text is not None else 0
    except ValueError:
        return None
    return number if number >= 1 else None


def limited_outcome(error: RateLimited) -> Limited | Delayed:
    """What a run comes to that met a rate limit. Raises InvalidOption if the processor said it wrong."""
    if error.scope not in ("queue", "job"):
        raise InvalidOption(f'RateLimited.scope: {error.scope!r} is neither "queue" nor "job"')
    # A server that says "after 0 seconds" means: now, but not in the same instant for ever.
    wait = max(1, duration_ms("RateLimited.retry_after", error.retry_after))
    return Delayed(wait) if error.scope == "job" else Limited(wait)
