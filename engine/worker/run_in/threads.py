"""Threads for plain `def` processors, and the Job that such a function gets."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from engine.job import Job
from engine.model.flow_rows import FlowJob


class ThreadJob(Job[Any, Any]):
    """A `Job` for code in a thread: its methods block until they are done, and are called without `await`."""

    __slots__ = ("_loop", "_whole")

    _loop: asyncio.AbstractEventLoop
    _whole: Job[Any, Any]
    """The job of the event loop, whose methods are called."""

    def _run(self) -> Job[Any, Any]:
        return self._whole

    def add_child(self, child: FlowJob) -> None:
        self._whole.add_child(child)


def thread_job(job: Job[Any, Any]) -> ThreadJob:
    """The same job for a thread; called on the loop to which the job's link belongs."""
    twin = ThreadJob.__new__(ThreadJob)
    twin._loop = asyncio.get_running_loop()
    twin._whole = job
    _copy(job, twin)
    return twin


def _copy(job: Job[Any, Any], twin: Job[Any, Any]) -> None:
    for name in Job.__slots__:
        setattr(twin, name, getattr(job, name))


def _blocking(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: ThreadJob, *args: Any, **options: Any) -> Any:
        self.check_cancelled()
        asked = getattr(self._whole, name)(*args, **options)
        answer = asyncio.run_coroutine_threadsafe(asked, self._loop).result()
        _copy(self._whole, self)
        return self if answer is self._whole else answer

    return call


for _name, _method in inspect.getmembers(Job, inspect.iscoroutinefunction):
    setattr(ThreadJob, _name, _blocking(_name, _method))


class Threads:
    """Daemon threads, started when none is free: a function that never returns keeps its thread and stops no shutdown.

    How many run at once is up to the caller.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._free: list[_Thread] = []
        self._made = 0

    def __repr__(self) -> str:
        return f"<Threads {self._made - len(self._free)} busy, {len(self._free)} free>"

    async def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """What the function returns or raises, run with this task's context variables."""
        if self._free:
            thread = self._free.pop()
        else:
            self._made += 1
            thread = _Thread(f"{self._name}-{self._made}", self._free.append)
        answer, error = await thread.call(functools.partial(contextvars.copy_context().run, function, *args))
        if error is not None:
            raise error
        return answer

    def stop(self) -> None:
        """End free threads now, busy threads after their function."""
        for thread in self._free:
            thread.end()
        self._free.clear()


class _Thread:
    def __init__(self, name: str, free: Callable[[_Thread], None]) -> None:
        self._free = free
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        threading.Thread(target=self._main, name=name, daemon=True).start()

    def end(self) -> None:
        self._calls.put(None)

    def call(self, work: Callable[[], Any]) -> asyncio.Future[tuple[Any, BaseException | None]]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()

        def finish(answer: Any, error: BaseException | None) -> None:
            self._free(self)
            if not future.done():
                # A pair, since a future takes no StopIteration.
                future.set_result((answer, error))

        def run() -> None:
            answer, error = None, None
            try:
                answer = work()
            except BaseException as raised:
                error = raised
            # The loop may be gone: a thread outlives it.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(finish, answer, error)

        self._calls.put(run)
        return future

    def _main(self) -> None:
        while (run := self._calls.get()) is not None:
            run()
            del run
