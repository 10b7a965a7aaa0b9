"""SIGTERM and SIGINT for workers that run in a program of the user's own."""

from __future__ import annotations

import asyncio
import functools
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)

Stop = Callable[[signal.Signals, int], None]
"""Called with the signal and its number: 1 for the first, 2 for the second."""


class _Handlers:
    """One handler for all running workers of the process: Python has one handler for a signal."""

    def __init__(self) -> None:
        self._stops: list[tuple[asyncio.AbstractEventLoop, Stop]] = []
        self._previous: dict[signal.Signals, Any] = {}
        self._count = 0

    def add(self, entry: tuple[asyncio.AbstractEventLoop, Stop]) -> None:
        if not self._stops:
            self._count = 0
            for number in SIGNALS:
                previous = signal.getsignal(number)
                if _is_default(previous):
                    self._previous[number] = previous
                    signal.signal(number, self._handle)
        self._stops.append(entry)

    def remove(self, entry: tuple[asyncio.AbstractEventLoop, Stop]) -> None:
        self._stops.remove(entry)
        if not self._stops:
            self._restore()

    def _handle(self, number: int, frame: object) -> None:
        self._count += 1
        for loop, stop in self._stops:
            loop.call_soon_threadsafe(stop, signal.Signals(number), self._count)
        if self._count == 2:
            self._restore()  # a third signal does what it did before the worker ran

    def _restore(self) -> None:
        for number, previous in self._previous.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, previous)
        self._previous.clear()


_handlers = _Handlers()


@contextmanager
def stop_on_signals(stop: Stop) -> Iterator[None]:
    """Call `stop` on the running event loop at SIGTERM and SIGINT while the block runs; restore the previous handlers after it.

    Does nothing outside the main thread, where Python sets no handlers. A signal that the program handles or ignores itself
    is left to the program.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    entry = (asyncio.get_running_loop(), stop)
    _handlers.add(entry)
    try:
        yield
    finally:
        _handlers.remove(entry)


def _is_default(handler: Any) -> bool:
    """Whether a signal still has the handler of Python or of `asyncio.run`."""
    if isinstance(handler, functools.partial):
        return isinstance(getattr(handler.func, "__self__", None), asyncio.Runner)
    return handler in (signal.SIG_DFL, signal.default_int_handler)
