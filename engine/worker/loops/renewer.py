"""Renews the locks of active jobs of all workers that share it, from a thread with an event loop and a connection of its own.

A processor that blocks the worker's loop loses no lock. Only code that holds the interpreter's lock stops the renewals too.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from engine.connection import Link, RedisSettings, open_link
from engine.errors import LinkClosed
from engine.model import wire
from engine.model.clock import monotonic
from engine.model.keys import Keys
from engine.scripting.rows import Refusal
from engine.scripts.renew import renew
from engine.worker.active_jobs import ActiveJob, ActiveJobs
from engine.worker.loops.loop_monitor import EVERY, LoopMonitor
from engine.worker.retry_delay import Report, RetryDelay

SILENCE_LIMIT = 30.0
"""Seconds after which a blocked loop counts as dead and its locks are left to expire."""
_LONGEST_SLEEP = 60.0

logger = logging.getLogger("engine.worker")


class Renewed:
    """The active jobs of one worker, as the renewer sees them: every `every_ms` their locks are renewed to `lock_ms`.

    lost: called with each job that another claim has. report: called with errors that the renewer survives. Both run on the loop
    of `Renewer.start`.
    """

    __slots__ = ("active_jobs", "due", "every", "keys", "lock_ms", "lost", "report", "retry_delay")

    def __init__(
        self,
        keys: Keys,
        active_jobs: ActiveJobs,
        *,
        lock_ms: int,
        every_ms: int,
        lost: Callable[[ActiveJob], None],
        report: Report,
    ) -> None:
        self.keys = keys
        self.active_jobs = active_jobs
        self.lock_ms = lock_ms
        self.every = every_ms / 1000
        self.lost = lost
        self.report = report
        self.due = monotonic() + self.every
        """Monotonic time of the next renewal; written by the thread."""
        self.retry_delay = RetryDelay()


class Renewer:
    """Renews the locks of the workers that `add` adds.

    States, as `repr` tells them: *idle*, *running*. `renewed` counts renewals; written by the thread.
    """

    def __init__(self, settings: RedisSettings, monitor: LoopMonitor, *, name: str) -> None:
        self.renewed = 0
        self._settings = settings
        self._monitor = monitor
        self._name = name
        self._workers: tuple[Renewed, ...] = ()  # replaced, never changed: the thread reads it
        self._added: asyncio.Event | None = None
        self._sleeps_until = float("inf")
        """Monotonic time; infinite while the thread does not sleep."""
        self._home: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._own: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._ended: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<Renewer {'running' if self._thread else 'idle'}, {self.renewed} renewed>"

    def start(self) -> None:
        if self._thread is not None:
            return
        self._home = asyncio.get_running_loop()
        self._ended = self._home.create_future()
        begun = threading.Event()
        self._thread = threading.Thread(target=self._main, args=(begun, self._ended), name=self._name, daemon=True)
        self._thread.start()
        begun.wait()

    def add(self, worker: Renewed) -> None:
        self._workers = (*self._workers, worker)
        # Not for each worker: to wake the thread takes a system call, and the interpreter's lock.
        if self._own is not None and self._added is not None and worker.due < self._sleeps_until:
            with suppress(RuntimeError):
                self._own.call_soon_threadsafe(self._added.set)

    def remove(self, worker: Renewed) -> None:
        self._workers = tuple(other for other in self._workers if other is not worker)

    async def stop(self, timeout: float = 2.0) -> None:
        """End the thread; a thread that does not end in time is left behind, as a daemon."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        assert self._own is not None
        assert self._ended is not None
        with suppress(RuntimeError):
            self._own.call_soon_threadsafe(self._cancel)
        await asyncio.wait([self._ended], timeout=timeout)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    # -- in the thread ---------------------------------------------------------------------------------------------

    def _main(self, begun: threading.Event, ended: asyncio.Future[None]) -> None:
        with asyncio.Runner() as runner:
            self._own = runner.get_loop()
            self._added = asyncio.Event()
            self._task = self._own.create_task(self._serve())
            begun.set()
            with suppress(asyncio.CancelledError):
                runner.run(_finish(self._task))
        self._call_home(_set, ended)

    async def _serve(self) -> None:
        beating = asyncio.create_task(self._beat())
        try:
            await self._keep_all()
        finally:
            beating.cancel()
            self._monitor.stops.end()

    async def _beat(self) -> None:
        while True:
            self._monitor.stops.beat()
            await asyncio.sleep(EVERY)

    async def _keep_all(self) -> None:
        retry_delay = RetryDelay()
        while True:
            try:
                await self._keep(retry_delay)
            except Exception as error:
                # Any error: without renewals every job would be lost.
                for worker in self._workers:
                    self._call_home(worker.report, error)
            await asyncio.sleep(retry_delay.wait())

    async def _keep(self, retry_delay: RetryDelay) -> None:
        """Renew over one connection as long as it works."""
        assert self._added is not None
        link = await open_link(self._settings, name=f"{self._name}:renew", wait=True)
        try:
            while True:
                self._added.clear()
                # Before `_workers` is read: `add` writes it, and then reads this.
                self._sleeps_until = float("inf")
                now = monotonic()
                if await self._turn(link, [worker for worker in self._workers if worker.due <= now]):
                    retry_delay.clear()
                self._sleeps_until = min((worker.due for worker in self._workers), default=now + _LONGEST_SLEEP)
                # Not wait_for, which in Python 3.11 may lose a cancellation.
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(self._sleeps_until - monotonic(), 0.001)):
                        await self._added.wait()
        finally:
            await link.close()

    async def _turn(self, link: Link, workers: Sequence[Renewed]) -> bool:
        """Renew the locks of these workers, in one write where they fit. Returns whether all went well."""
        if workers and self._monitor.silence > SILENCE_LIMIT:
            logger.warning(
                "The event loop has been blocked for %.0f s: its locks are not renewed", self._monitor.silence
            )
            for worker in workers:
                worker.due += worker.every
            return True
        return all(await asyncio.gather(*(self._renew_of(link, worker) for worker in workers)))

    async def _renew_of(self, link: Link, worker: Renewed) -> bool:
        """Renew every lock of one worker. False if that failed; it is retried soon."""
        try:
            await self._renew(link, worker, worker.active_jobs.all())
        except LinkClosed:
            raise
        except Exception as error:
            self._call_home(worker.report, error)
            worker.due = monotonic() + worker.retry_delay.wait()
            return False
        worker.due = monotonic() + worker.every
        worker.retry_delay.clear()
        return True

    async def _renew(self, link: Link, worker: Renewed, active_jobs: list[ActiveJob]) -> None:
        for first in range(0, len(active_jobs), wire.MAX_ROWS):
            some = active_jobs[first : first + wire.MAX_ROWS]
            refused = await renew(link, worker.keys, [active.claimed for active in some], lock_ms=worker.lock_ms)
            self.renewed += len(some) - len(refused)
            for number, refusal in refused.items():
                if refusal is not Refusal.DONE:
                    self._call_home(worker.lost, some[number])

    def _call_home(self, function: Callable[..., None], argument: object) -> None:
        assert self._home is not None
        with suppress(RuntimeError):  # the worker's loop is gone
            self._home.call_soon_threadsafe(function, argument)


async def _finish(task: asyncio.Task[None]) -> None:
    await task


def _set(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)
