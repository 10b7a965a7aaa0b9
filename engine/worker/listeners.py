"""Listeners of a worker's events: what `Worker.on` adds, called on the worker's event loop."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from typing import Any, Literal, get_args

from engine.errors import InvalidInput

Event = Literal["active", "progress", "completed", "failed", "stalled", "drained", "error"]
Listener = Callable[..., Any]

logger = logging.getLogger("engine.worker")


class Listeners:
    """Callables by event; what one raises is logged and stops nothing. Coroutine functions run as tasks."""

    def __init__(self) -> None:
        self._by_event: dict[str, list[Listener]] = {event: [] for event in get_args(Event)}
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, event: Event, listener: Listener) -> None:
        if event not in self._by_event:
            raise InvalidInput(f"event: {event!r} does not exist; a worker has {', '.join(self._by_event)}")
        if not callable(listener):
            raise InvalidInput(f"listener: {listener!r} cannot be called; give a function")
        self._by_event[event].append(listener)

    def has(self, event: Event) -> bool:
        return bool(self._by_event[event])

    def emit(self, event: Event, *details: Any) -> None:
        for listener in self._by_event[event]:
            try:
                returned = listener(*details)
            except Exception:
                logger.exception("A listener of %r raised", event)
                continue
            if inspect.isawaitable(returned):
                task = asyncio.ensure_future(_finish(event, returned))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def done(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for coroutine listeners under way, then cancel them."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=timeout)
            for task in late:
                task.cancel()


async def _finish(event: str, coroutine: Any) -> None:
    try:
        await coroutine
    except Exception:
        logger.exception("A listener of %r raised", event)
