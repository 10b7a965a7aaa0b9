"""SIGUSR1: writes the stacks of the running jobs and of all threads to stderr. Knows coroutines, not workers."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any, NamedTuple

_STDERR = 2


class Running(NamedTuple):
    """A running job: its title, and its task if it runs on the event loop."""

    title: str
    task: asyncio.Task[Any] | None


def dump_on_signal(running: Callable[[], Iterable[Running]]) -> None:
    """Install the handler of SIGUSR1, which works while the event loop is blocked too."""

    def write(*_: object) -> None:
        # Straight to the descriptor: the signal may have come in the middle of a write to sys.stderr.
        os.write(_STDERR, describe(running()).encode(errors="backslashreplace"))

    signal.signal(signal.SIGUSR1, write)
    # Threads first and from C, which works even where no Python code gets its turn; then `write`.
    faulthandler.register(signal.SIGUSR1, file=sys.__stderr__ or _STDERR, all_threads=True, chain=True)


def describe(running: Iterable[Running]) -> str:
    """The running jobs as text, each with its stack."""
    parts = [f"{one.title}\n{''.join(_where(one.task))}" for one in running]
    return f"\nRunning jobs: {len(parts)}\n" + "".join(parts)


def where(task: asyncio.Task[Any] | None, thread: int | None = None) -> str:
    """The stack of a job that runs on the event loop, or in the thread of that identity."""
    frame = None if thread is None else sys._current_frames().get(thread)
    return "".join(_where(task) if frame is None else traceback.format_stack(frame))


def _where(task: asyncio.Task[Any] | None) -> Iterator[str]:
    if task is None:
        yield "  in a thread or process: see the threads above\n"
        return
    for frame, line in _frames(task.get_coro()):
        yield from traceback.format_list([traceback.FrameSummary(frame.f_code.co_filename, line, frame.f_code.co_name)])


def _frames(waiting: Any) -> Iterator[tuple[FrameType, int]]:
    """The frames from a coroutine down through what each awaits; `Task.get_stack` has only the first of a suspended task."""
    while waiting is not None:
        frame = _first(waiting, "cr_frame", "gi_frame", "ag_frame")
        if frame is None:
            return
        yield frame, frame.f_lineno
        inner = _first(waiting, "cr_await", "gi_yieldfrom", "ag_await")
        # slots.py drives a job's coroutine by hand: it is in a local variable, not awaited. A batch is a task of its own.
        match frame.f_code.co_qualname:
            case "_driven":
                waiting = frame.f_locals.get("work")
            case "Batches.join" if (batch := frame.f_locals.get("batch")) is not None and batch.task is not None:
                waiting = batch.task.get_coro()
            case _:
                waiting = inner


def _first(holder: Any, *names: str) -> Any:
    return next((getattr(holder, name) for name in names if hasattr(holder, name)), None)
