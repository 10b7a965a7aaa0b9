"""How long to wait before the next attempt (wire specification, section 6.3)."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from engine.clock import MAX_DURATION_MS, duration_ms
from engine.errors import InvalidOption

BUILT_IN = ("fixed", "exponential")


class Backoff(Struct, frozen=True, omit_defaults=True):
    """When a failed job runs again.

    `type` is "fixed" (always `delay`), "exponential" (`delay`, twice that, four times that, ...), or the name of a
    strategy that the worker was given. `delay` is in milliseconds. `jitter` between 0 and 1 is the share of the delay
    that is drawn by chance, so that jobs which failed together do not come back together.
    """

    type: str
    delay: int = 0
    jitter: float = 0

    @classmethod
    def check(cls, value: Any) -> Backoff:
        """The Backoff of what a user gave: a Backoff, a dict of its fields, or milliseconds for a fixed delay."""
        if isinstance(value, dict):
            unknown = value.keys() - {"type", "delay", "jitter"}
            if unknown:
                raise InvalidOption(
                    f"backoff: {', '.join(sorted(map(repr, unknown)))} is not a field; it has type, delay and jitter"
                )
            if "type" not in value:
                raise InvalidOption('backoff: the type is missing; give {"type": "exponential", "delay": 1000}')
            value = cls(**value)
        elif not isinstance(value, cls):
            return cls("fixed", duration_ms("backoff", value))
        if not isinstance(value.type, str) or not value.type:
            raise InvalidOption(
                f"backoff.type: {value.type!r} is not a name; use 'fixed', 'exponential' or a worker's own"
            )
        if isinstance(value.jitter, bool) or not isinstance(value.jitter, int | float) or not 0 <= value.jitter <= 1:
            raise InvalidOption(f"backoff.jitter: {value.jitter!r} is not between 0 and 1")
        return cls(value.type, duration_ms("backoff.delay", value.delay), value.jitter)


Strategy = Callable[[int, BaseException], int]
"""A user's own backoff: attempts made so far (1 after the first) and the error; milliseconds to wait, or -1 to give up."""


def delay_before_retry(backoff: Backoff | None, attempts_made: int, chance: Callable[[], float] = random.random) -> int:
    """Milliseconds to wait after the `attempts_made`-th failed attempt, for the built-in types; 0 without a backoff."""
    if backoff is None:
        return 0
    # The exponent is capped: 2.0**1100 overflows, and ten years is the longest wait that is kept anyway.
    grown = backoff.delay if backoff.type == "fixed" else backoff.delay * 2 ** min(attempts_made - 1, 40)
    grown = min(grown, MAX_DURATION_MS)
    if not backoff.jitter:
        return grown
    return int(grown * (1 - backoff.jitter) + chance() * grown * backoff.jitter)
