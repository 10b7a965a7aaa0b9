"""RetryDelay: how long to wait after failures. Service: a background loop that survives every error."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from engine.errors import LinkClosed

Report = Callable[[BaseException], None]
"""Called with an error that the worker survives."""

_FIRST_WAIT = 0.05
_LONGEST_WAIT = 3.0
_STEP = 0.1
"""Seconds. Services of one process wake at the same multiples of this, so that their calls leave in one write."""
_OFFSET = random.random()
"""Of these multiples, in steps: processes do not wake at the same time."""


class RetryDelay:
    """Seconds to wait after each failure in a row: growing, with jitter, so that many workers do not return at once."""

    def __init__(self) -> None:
        self._next = _FIRST_WAIT

    def wait(self) -> float:
        now = self._next * random.uniform(0.5, 1.0)
        self._next = min(self._next * 2, _LONGEST_WAIT)
        return now

    def clear(self) -> None:
        self._next = _FIRST_WAIT


class Service:
    """Calls `turn` in a loop. A turn returns the seconds to wait before the next; an error of a turn is reported.

    States, as `repr` tells them: *idle* before `start` and after `stop`, *running* between. Both may be called at any
    time, in any number; a turn under way is cancelled by `stop`.
    """

    def __init__(self, name: str, turn: Callable[[], Awaitable[float]], report: Report) -> None:
        self.name = name
        self._turn = turn
        self._report = report
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Service {self.name} {'running' if self.running else 'idle'}>"

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        if not self.running:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"worker {self.name}")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        retry_delay = RetryDelay()
        while True:
            try:
                wait = await self._turn()
                retry_delay.clear()
                wait = _aligned(wait)
            except LinkClosed:
                return
            except Exception as error:
                self._report(error)
                wait = retry_delay.wait()
            await asyncio.sleep(wait)


def _aligned(wait: float) -> float:
    """About `wait` seconds, until the next moment at which other services of this process wake too."""
    if wait < 5 * _STEP:
        return wait
    now = asyncio.get_running_loop().time()
    return (round((now + wait) / _STEP - _OFFSET) + _OFFSET) * _STEP - now
