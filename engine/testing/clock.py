"""A clock that tests can move, and the connection that passes its time to scripts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from engine.connection import Argument, Connection, RedisPyLink, Reply, Waiter
from engine.errors import InvalidOption
from engine.model import clock

_SCRIPT_CALLS = ("EVALSHA", "EVAL")


class Clock:
    """A clock that runs like the machine's clock, and that tests can move forward.

    Moving it moves the times that Corral stores and compares: due times, backoffs, ages, finish times. It does not move what
    the server expires by itself (locks, rate limits, deduplication windows), nor the ids of events.
    """

    def __init__(self) -> None:
        self.ahead = timedelta()
        """How far the clock was moved in all."""

    def __repr__(self) -> str:
        return f"<Clock {self.now.isoformat()}, {self.ahead} ahead>"

    @property
    def now(self) -> datetime:
        """The clock's time, in UTC."""
        return clock.from_ms(self.ms)

    @property
    def ms(self) -> int:
        """The clock's time, in Unix milliseconds."""
        return time.time_ns() // 1_000_000 + round(self.ahead / timedelta(milliseconds=1))

    def advance(self, by: timedelta | None = None, **units: float) -> None:
        """Move the clock forward: `advance(minutes=5)`, or by a timedelta. A running worker notices within 50 ms.

        Raises InvalidOption for a negative duration, which would break the order of jobs.
        """
        try:
            step = timedelta(**units) + (by or timedelta())
        except TypeError:
            raise InvalidOption(f"advance: {by!r}, {units} is not a duration; write advance(minutes=5)") from None
        if step < timedelta():
            raise InvalidOption(f"advance: {step} is negative; the clock of a queue only moves forward")
        self.ahead += step

    def move_to(self, moment: datetime) -> None:
        """Move the clock forward to a time; a time that has passed changes nothing. Raises InvalidOption without a time zone."""
        clock.to_ms(moment)
        self.advance(max(timedelta(), moment - datetime.now(UTC) - self.ahead))


class ClockedLink:
    """A connection that passes the time of a moved clock to every script. All other calls go through unchanged."""

    def __init__(self, link: Connection | RedisPyLink, clock: Clock) -> None:
        self._link = link
        self._clock = clock

    def __repr__(self) -> str:
        return f"<ClockedLink {self._link!r}>"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)

    async def call(self, *command: Argument) -> Reply:
        return await self._link.call(*self._with_time(command))

    def post(self, waiter: Waiter, *command: Argument) -> None:
        self._link.post(waiter, *self._with_time(command))

    async def call_many(self, commands: Sequence[Sequence[Argument]]) -> list[Reply]:
        return await self._link.call_many([self._with_time(command) for command in commands])

    def _with_time(self, command: Sequence[Argument]) -> Sequence[Argument]:
        if not self._clock.ahead or len(command) < 4 or command[0] not in _SCRIPT_CALLS:
            return command
        # A script's first argument is `now`. Before it are the digest, the number of keys, and the keys.
        place = 3 + int(command[2])
        if len(command) <= place or command[place] != "":
            return command
        return [*command[:place], self._clock.ms, *command[place + 1 :]]
