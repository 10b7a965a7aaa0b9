"""Alerts when the number of dead letters of a queue exceeds a threshold: once each time it is crossed upwards."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct

from engine.connection import Link
from engine.errors import InvalidOption
from engine.model.checks import is_whole
from engine.model.keys import Keys
from engine.model.options import Keep
from engine.scripts.check_dead_letters import check_dead_letters
from engine.worker.retry_delay import Report, Service

DEFAULT_KEPT = Keep(count=10_000, age=90 * 24 * 3_600_000)
"""Retention of dead letters by default: the newest 10,000, for 90 days."""


class DeadLetterAlert(Struct, frozen=True):
    """There are `count` open dead letters in the queue, more than `threshold`."""

    queue: str
    count: int
    threshold: int


Alert = Callable[[DeadLetterAlert], Awaitable[None] | None]


class DeadLetterWatch:
    """Checks every `every` seconds. The server remembers the alert, so that only one of all workers with one threshold alerts."""

    def __init__(self, link: Link, keys: Keys, threshold: int, alert: Alert, *, every: float, report: Report) -> None:
        self._link = link
        self._keys = keys
        self._threshold = threshold
        self._alert = alert
        self._every = every
        self._service = Service("dead letter alert", self._turn, report)

    def __repr__(self) -> str:
        return f"<DeadLetterWatch {self._service!r}>"

    def start(self) -> None:
        self._service.start()

    async def stop(self) -> None:
        await self._service.stop()

    async def _turn(self) -> float:
        count = await check_dead_letters(self._link, self._keys, threshold=self._threshold)
        if count is not None:
            returned = self._alert(DeadLetterAlert(self._keys.queue, count, self._threshold))
            if inspect.isawaitable(returned):
                await returned
        return self._every


def check_kept(value: Any) -> Keep | None:
    """Retention of dead letters: None or True is the default, False writes no dead letters. Raises InvalidOption."""
    match value:
        case None | True:
            return DEFAULT_KEPT
        case False:
            return None
    keep = Keep.check("dead_letters", value)
    if keep.limit is not None:
        raise InvalidOption("dead_letters: 'limit' is not a field; it has count and age")
    return None if keep.count == 0 else keep


def check_alert(value: Any) -> tuple[int, Alert] | None:
    """The threshold and the function to call. Raises InvalidOption."""
    match value:
        case None:
            return None
        case (int(threshold), alert) if is_whole(threshold) and threshold >= 0 and callable(alert):
            return threshold, alert
    raise InvalidOption(f"dead_letter_alert: {value!r} is not a threshold and a function, such as (100, tell_the_team)")
