"""Rate limits and concurrency of a queue, and a worker's own limiter: checks and stored forms."""

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
"""Most starts in a millisecond under a smooth limit."""


class RateLimit(Struct, frozen=True):
    """At most `max` jobs start in `duration` milliseconds; with `smooth` at even intervals."""

    max: int
    duration: int
    smooth: bool = False

    @classmethod
    def check(cls, name: str, max: Any, duration: Any, smooth: Any = False) -> RateLimit:
        """A checked RateLimit. `duration` is ms or a timedelta. Raises InvalidOption, naming the field."""
        whole_number(f"{name}.max", max, 1, _MOST, "to start no job, pause the queue")
        ms = duration_ms(f"{name}.duration", duration)
        if ms < 1:
            raise InvalidOption(f"{name}.duration: {ms} ms is too short; give 1 or more milliseconds, or a timedelta")
        if flag(f"{name}.smooth", smooth) and max > ms * _PER_MS:
            raise InvalidOption(
                f"{name}.max: {max:,} in {ms} ms are too many for smooth=True; give at most {ms * _PER_MS:,}, or leave smooth out"
            )
        return cls(max, ms, smooth)


def worker_limit(value: Any) -> str:
    """A worker's limiter as the claim script takes it: `{"max": 10, "duration": 1_000}`, a RateLimit, or None for no limit."""
    match value:
        case None:
            return ""
        case RateLimit():
            limit = RateLimit.check("limiter", value.max, value.duration, value.smooth)
        case Mapping() if value.keys() == {"max", "duration"}:
            limit = RateLimit.check("limiter", value["max"], value["duration"])
        case _:
            raise InvalidOption(f'limiter: {value!r} is not a limiter; give {{"max": 10, "duration": 1_000}}')
    if limit.smooth:
        raise InvalidOption(
            "limiter.smooth: a worker's limiter cannot be smooth; call queue.set_rate_limit(..., smooth=True)"
        )
    return f"{limit.max},{limit.duration}"


def check_concurrency(value: Any) -> int:
    """A queue's global concurrency: how many of its jobs run at once. Raises InvalidOption."""
    return whole_number("concurrency", value, 1, _MOST, "to start no job, pause the queue")


def stored_limit(max: bytes | None, duration: bytes | None, smooth: bytes | None) -> RateLimit | None:
    """The rate limit stored in a queue's `meta` by any program; None if there is none."""
    counted, spread = stored_number(max), stored_number(duration)
    return None if counted is None or spread is None else RateLimit(counted, spread, smooth is not None)


def stored_number(text: bytes | None) -> int | None:
    """A number of 1 or more, stored by any program; None if it is missing or unreadable."""
    try:
        number = int(text) if text is not None else 0
    except ValueError:
        return None
    return number if number >= 1 else None


def limited_outcome(error: RateLimited) -> Limited | Delayed:
    """The outcome of a run that raised RateLimited. Raises InvalidOption for a wrong scope or retry_after."""
    if error.scope not in ("queue", "job"):
        raise InvalidOption(f'RateLimited.scope: {error.scope!r} is not a scope; give "queue" or "job"')
    # At least 1 ms: after "retry after 0 seconds" the job must not run in an endless loop.
    wait = max(1, duration_ms("RateLimited.retry_after", error.retry_after))
    return Delayed(wait) if error.scope == "job" else Limited(wait)
