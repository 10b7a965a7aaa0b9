"""Tells when the dead letters of a queue have come to be many: once each time they cross the threshold upwards."""

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
"""Dead letters kept where a worker does not say: the newest 10,000, none older than 90 days."""


class DeadLetterAlert(Struct, frozen=True):
    """There are `count` open dead letters in the queue, more than `threshold`."""

    queue: str
    count: int
    threshold: int


Tell = Callable[[DeadLetterAlert], Awaitable[None] | None]


class DeadLetterWatch:
    """Looks every `every` seconds. The server remembers who was told, so of all workers that watch one threshold one tells."""

    def __init__(self, link: Link, keys: Keys, threshold: int, tell: Tell, *, every: float, report: Report) -> None:
        self._link = link
        self._keys = keys
        self._threshold = threshold
        self._tell = tell
        self._every = every
        self._service = Service("letter watch", self._turn, report)

    def __repr__(self) -> str:
        return f"<DeadLetterWatch {self._service!r}>"

    def start(self) -> None:
        self._service.start()

    async def stop(self) -> None:
        await self._service.stop()

    async def _turn(self) -> float:
        count = await check_dead_letters(self._link, self._keys, threshold=self._threshold)
        if count is not None:
            told = self._tell(DeadLetterAlert(self._keys.queue, count, self._threshold))
            if inspect.isawaitable(told):
                await told
        return self._every


def check_kept(value: Any) -> Keep | None:
    """What a worker keeps of dead letters: True or None the default, False none. Raises InvalidOption."""
    match value:
        case None | True:
            return DEFAULT_KEPT
        case False:
            return None
    keep = Keep.check("dead_letters", value)
    if keep.limit is not None:
        raise InvalidOption("dead_letters: 'limit' is not a field; it has count and age")
    return None if keep.count == 0 else keep


def check_alert(value: Any) -> tuple[int, Tell] | None:
    """The threshold and whom to tell. Raises InvalidOption."""
    match value:
        case None:
            return None
        case (int(threshold), tell) if is_whole(threshold) and threshold >= 0 and callable(tell):
            return threshold, tell
    raise InvalidOption(f"dead_letter_alert: {value!r} is not a threshold and a function, such as (100, tell_the_team)")
