"""The pulse of the worker's event loop: when it last beat, and a warning when it was silent. Knows no Redis."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from engine.clock import monotonic

EVERY = 0.25
WARN_AFTER = 1.0
_NAMED_AT_MOST = 5

logger = logging.getLogger("engine.worker")


class Pulse:
    """Beats every 0.25 s as long as the loop runs. `beat` (monotonic) is written by the loop, read by any thread.

    `suspects` names what ran on the loop; it is asked only when the loop was silent for over a second, once an episode.
    """

    def __init__(self, suspects: Callable[[], Iterable[str]]) -> None:
        self.beat = monotonic()
        self._suspects = suspects
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Pulse {'beating' if self._timer else 'stopped'}, last {self.silence:.2f} s ago>"

    @property
    def silence(self) -> float:
        """Seconds since the last beat."""
        return monotonic() - self.beat

    def start(self) -> None:
        if self._timer is None:
            self.beat = monotonic()
            self._arm()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(EVERY, self._tick)

    def _tick(self) -> None:
        blocked = self.silence - EVERY
        self.beat = monotonic()
        self._arm()
        if blocked > WARN_AFTER:
            logger.warning(
                "the event loop was blocked for %.1f s by one of: %s. Blocking code belongs in a plain `def` "
                "processor (a thread) or in run_in='process'",
                blocked,
                _named(list(self._suspects())),
            )


def _named(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMED_AT_MOST]) or "no job"
    more = len(names) - _NAMED_AT_MOST
    return f"{shown} and {more} more" if more > 0 else shown
