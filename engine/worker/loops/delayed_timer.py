"""A timer for the next delayed job, or for the end of a rate limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_LONGEST = 60.0
"""Seconds. A longer delay is split, so that a server clock that was put forward is noticed."""


class DelayedTimer:
    """Calls `expired` when the delay last passed to `set` is over."""

    def __init__(self, expired: Callable[[], None]) -> None:
        self._expired = expired
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<DelayedTimer {'armed' if self._timer else 'idle'}>"

    def set(self, delay: int | None) -> None:
        """`delay`: milliseconds from now; None only cancels the timer."""
        self.stop()
        if delay is not None:
            wait = min(delay / 1000, _LONGEST)
            self._timer = asyncio.get_running_loop().call_later(wait, self._fire)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        self._expired()
