"""A clock that tests can move, and the link that tells scripts its time."""

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
    """Runs as the machine's clock does, ahead of it by as much as it was moved.

    What Corral stores and compares is moved: due times, backoffs, ages, finish times. What the server itself lets expire
    is not: locks, rate limits, deduplication windows; nor are the ids of events.
    """

    def __init__(self) -> None:
        self.ahead = timedelta()
        """How far it was moved in all."""

    def __repr__(self) -> str:
        return f"<Clock {self.now.isoformat()}, {self.ahead} ahead>"

    @property
    def now(self) -> datetime:
        return clock.from_ms(self.ms)

    @property
    def ms(self) -> int:
        """Unix milliseconds."""
        return time.time_ns() // 1_000_000 + round(self.ahead / timedelta(milliseconds=1))

    def advance(self, by: timedelta | None = None, **units: float) -> None:
        """Move forward: `advance(minutes=5)`, or by a timedelta. A worker that runs notices within 50 ms.

        Raises InvalidOption for a way back, which would break the order in which jobs stand.
        """
        try:
            step = timedelta(**units) + (by or timedelta())
        except TypeError:
            raise InvalidOption(f"advance: {by!r}, {units} is no duration; write advance(minutes=5)") from None
        if step < timedelta():
            raise InvalidOption(f"advance: {step} goes back; a clock of a queue only goes forward")
        self.ahead += step

    def move_to(self, moment: datetime) -> None:
        """Move forward to a moment; nothing happens if it is over. Raises InvalidOption for one without a time zone."""
        clock.to_ms(moment)
        self.advance(max(timedelta(), moment - datetime.now(UTC) - self.ahead))


class ClockedLink:
    """A link on which every script is told the time of a clock, once that was moved. All else is the link's own."""

    def __init__(self, link: Connection | RedisPyLink, clock: Clock) -> None:
        self._link = link
        self._clock = clock

    def __repr__(self) -> str:
        return f"<ClockedLink {self._link!r}>"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)

    async def call(self, *command: Argument) -> Reply:
        return await self._link.call(*self._told(command))

    def post(self, waiter: Waiter, *command: Argument) -> None:
        self._link.post(waiter, *self._told(command))

    async def call_many(self, commands: Sequence[Sequence[Argument]]) -> list[Reply]:
        return await self._link.call_many([self._told(command) for command in commands])

    def _told(self, command: Sequence[Argument]) -> Sequence[Argument]:
        if not self._clock.ahead or len(command) < 4 or command[0] not in _SCRIPT_CALLS:
            return command
        # A script's first argument is `now`: after its name, the number of its keys, and those.
        place = 3 + int(command[2])
        if len(command) <= place or command[place] != "":
            return command
        return [*command[:place], self._clock.ms, *command[place + 1 :]]
