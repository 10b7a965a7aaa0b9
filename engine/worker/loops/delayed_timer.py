"""The timer of the next delayed job. Knows when; what is done then is told to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_LONGEST = 60.0
"""Seconds. A timer further off is set anew on the way, so a server clock that was put forward is noticed."""


class Due:
    """Calls `ring` when the time last told by `tell` is over."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Due {'armed' if self._timer else 'idle'}>"

    def tell(self, next_due: int | None) -> None:
        """`next_due`: milliseconds from now; None takes the timer down."""
        self.stop()
        if next_due is not None:
            wait = min(next_due / 1000, _LONGEST)
            self._timer = asyncio.get_running_loop().call_later(wait, self._over)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _over(self) -> None:
        self._timer = None
        self._ring()
