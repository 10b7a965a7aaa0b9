"""Backoff: the delay before a failed job's next attempt (wire specification, section 6.3)."""

from __future__ import annotations

import difflib
import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Required, TypedDict, cast

from msgspec import Struct

from engine.errors import InvalidOption
from engine.model.checks import check_fields, is_number
from engine.model.clock import MAX_DURATION_MS, duration_ms

BUILT_IN = ("fixed", "exponential", "list")

DEFAULT_JITTER = 0.25
"""Default share of a delay that is random, so that jobs that failed together do not retry together. Jitter only shortens."""
MAX_DELAYS = 100
"""Most delays in a list; the list is stored with each job."""


class Backoff(Struct, frozen=True, omit_defaults=True):
    """The delay before each retry of a failed job.

    type: "fixed" (always `delay`), "exponential" (`delay`, 2 x `delay`, 4 x `delay`, ...), "list" (`delays` in order; the last
    repeats), or the name of one of the worker's own strategies. `backoff=[1_000, 5_000, 60_000]` is short for a list.
    delay, delays: whole milliseconds or timedelta. jitter: the share of the delay, 0 to 1, that is random; by default 0.25 for
    the built-in types, so a delay of 1000 becomes 750 to 1000.
    BullMQ's workers have "fixed" and "exponential"; they need a strategy of the same name for any other type.
    """

    type: str
    delay: int | timedelta = 0
    jitter: float | None = None
    delays: Sequence[int | timedelta] = ()

    @classmethod
    def check(cls, value: Any) -> Backoff:
        """A checked Backoff, from a Backoff, a dict of its fields, a fixed delay (ms or timedelta), or a list of delays."""
        if isinstance(value, dict):
            check_fields("backoff", value, cls.__struct_fields__)
            if "type" not in value:
                raise InvalidOption('backoff: the type is missing; give {"type": "exponential", "delay": 1000}')
            value = cls(**value)
        elif isinstance(value, list | tuple):
            value = cls("list", delays=tuple(value))
        elif not isinstance(value, cls):
            value = cls("fixed", duration_ms("backoff", value))
        if not isinstance(value.type, str) or not value.type:
            raise InvalidOption(
                f"backoff.type: {value.type!r} is not a name; use 'fixed', 'exponential', 'list' or a strategy of the worker"
            )
        check_strategy_name("backoff.type", value.type)
        if value.type == "exponential" and not value.delay:
            raise InvalidOption(
                'backoff.delay: "exponential" needs a delay over 0; give {"type": "exponential", "delay": 1000}'
            )
        jitter = value.jitter
        if jitter is None:
            jitter = DEFAULT_JITTER if value.type in BUILT_IN else None
        elif not is_number(jitter) or not 0 <= jitter <= 1:
            raise InvalidOption(
                f"backoff.jitter: {jitter!r} is not a number from 0 to 1; 0.25 varies a delay by a quarter"
            )
        return cls(value.type, duration_ms("backoff.delay", value.delay), jitter, _delays(value))


def check_strategy_name(option: str, name: str) -> None:
    """Raise InvalidOption for a near miss of a built-in type; a worker's own strategies may not have such a name either."""
    if name in BUILT_IN:
        return
    word = name.lower()
    meant = [known for known in BUILT_IN if known.startswith(word)] or difflib.get_close_matches(
        word, BUILT_IN, 1, 0.75
    )
    if meant:
        raise InvalidOption(f"{option}: {name!r} is not a type; did you mean {meant[0]!r}?")


def _delays(backoff: Backoff) -> tuple[int, ...]:
    given = backoff.delays
    if not isinstance(given, list | tuple):
        raise InvalidOption(
            f"backoff.delays: {given!r} is not a list; give milliseconds or timedeltas, such as [1_000, 5_000]"
        )
    if backoff.type == "list" and not 1 <= len(given) <= MAX_DELAYS:
        raise InvalidOption(
            f"backoff.delays: {len(given)} delays are not 1 to {MAX_DELAYS}; the last one repeats, so a long tail can be left out"
        )
    if backoff.type != "list" and given:
        raise InvalidOption(
            f"backoff.delays: type {backoff.type!r} has no delays; use type 'list', or leave delays out"
        )
    if backoff.type == "list" and backoff.delay:
        raise InvalidOption("backoff.delay: type 'list' uses `delays`; leave `delay` out")
    return tuple(duration_ms(f"backoff.delays[{n}]", delay) for n, delay in enumerate(given))


class BackoffFields(TypedDict, total=False):
    """A Backoff as a dict."""

    type: Required[str]
    delay: int | timedelta
    jitter: float | None
    delays: Sequence[int | timedelta]


BackoffOption = Backoff | BackoffFields | Sequence[int | timedelta] | int | timedelta
"""Values of the option `backoff`: ms or a timedelta is a fixed delay, a list of them a delay for each retry."""

Strategy = Callable[[int, BaseException], int]
"""A worker's own backoff: takes the attempts made (1 after the first) and the error, returns ms to wait, or -1 to give up."""


def delay_before_retry(backoff: Backoff | None, attempts_made: int, chance: Callable[[], float] = random.random) -> int:
    """Milliseconds to wait after the `attempts_made`-th failed attempt, for the built-in types; 0 without a backoff."""
    if backoff is None:
        return 0
    delay, delays = cast(int, backoff.delay), cast(tuple[int, ...], backoff.delays)  # as `check` and the wire have them
    match backoff.type:
        case "fixed":
            grown = delay
        case "list":
            grown = delays[min(attempts_made, len(delays)) - 1] if delays else delay
        case _:
            # The exponent is capped: 2.0**1100 overflows, and ten years is the longest wait that is kept anyway.
            grown = delay * 2 ** min(attempts_made - 1, 40)
    grown = min(grown, MAX_DURATION_MS)
    if not backoff.jitter:
        return grown
    return int(grown * (1 - backoff.jitter) + chance() * grown * backoff.jitter)
