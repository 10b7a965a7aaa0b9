"""Detects a blocked event loop, and a process that was stopped.

A thread beside the loop tells the two apart: in a stopped process it stops too, and no processor time is used.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable

from engine.model.clock import monotonic

EVERY = 0.25
WARN_AFTER = 1.0
_NAMED_AT_MOST = 5

logger = logging.getLogger("engine.worker")


class Stops:
    """How long the process was stopped: by a signal, by a frozen container, or on a machine that slept.

    `beat` is called by a thread beside the loop every 0.25 s; an interval between two beats that used no processor time is a stop.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._last: tuple[float, float] | None = None
        self._seconds = 0.0

    def beat(self) -> None:
        with self._guard:
            self._note()

    def end(self) -> None:
        """No more beats follow."""
        with self._guard:
            self._last = None

    @property
    def seconds(self) -> float:
        """Since the last `take`."""
        with self._guard:
            if self._last is not None:
                self._note()
            return self._seconds

    def take(self) -> float:
        """`seconds`, and start again from 0."""
        seconds = self.seconds
        with self._guard:
            self._seconds = 0.0
        return seconds

    def _note(self) -> None:
        last, self._last = self._last, (_clock(), time.process_time())
        if last is not None:
            still = (self._last[0] - last[0]) - (self._last[1] - last[1]) - EVERY
            if still > WARN_AFTER:
                self._seconds += still


def _clock() -> float:
    """Monotonic seconds, with those that the machine slept where the system counts them."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return monotonic() if boot is None else time.clock_gettime(boot)


class LoopMonitor:
    """Beats every 0.25 s as long as the loop runs. `beat` (monotonic time) is written by the loop, read by any thread.

    `suspects` returns what ran on the loop; it is called once after the loop was blocked for more than a second.
    `stops`: written by a thread beside the loop.
    """

    def __init__(self, suspects: Callable[[], Iterable[str]]) -> None:
        self.beat = monotonic()
        self.stops = Stops()
        self._suspects = suspects
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<LoopMonitor {'beating' if self._timer else 'stopped'}, last {self.silence:.2f} s ago>"

    @property
    def silence(self) -> float:
        """Seconds since the last beat in which the process ran."""
        return monotonic() - self.beat - self.stops.seconds

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
        stopped = self.stops.take()
        blocked = monotonic() - self.beat - stopped - EVERY
        self.beat = monotonic()
        self._arm()
        if stopped:
            logger.warning(
                "the process did not run for %.1f s: it was stopped (SIGSTOP, a frozen container), or the machine slept or had no "
                "processor for it",
                stopped,
            )
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
