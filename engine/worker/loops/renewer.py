"""Renews the locks of active jobs, from a thread with an event loop and a connection of its own.

A processor that blocks the worker's loop loses no lock. Only code that holds the interpreter's lock stops the renewals too.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress

from engine.connection import Link, RedisSettings, open_link
from engine.errors import LinkClosed
from engine.model import wire
from engine.model.keys import Keys
from engine.scripting.rows import Refusal
from engine.scripts.renew import renew
from engine.worker.active_jobs import ActiveJob, ActiveJobs
from engine.worker.loops.loop_monitor import EVERY, LoopMonitor
from engine.worker.retry_delay import Report, RetryDelay

SILENCE_LIMIT = 30.0
"""Seconds after which a blocked loop counts as dead and its locks are left to expire."""

logger = logging.getLogger("engine.worker")


class Renewer:
    """Renews every `every_ms`. Calls `lost` with each job that another claim has; `lost` and `report` run on the loop of `start`.

    States, as `repr` tells them: *idle*, *running*. `renewed` counts renewals; written by the thread.
    """

    def __init__(
        self,
        settings: RedisSettings,
        keys: Keys,
        active_jobs: ActiveJobs,
        monitor: LoopMonitor,
        *,
        name: str,
        lock_ms: int,
        every_ms: int,
        lost: Callable[[ActiveJob], None],
        report: Report,
    ) -> None:
        self.renewed = 0
        self._settings = settings
        self._keys = keys
        self._active_jobs = active_jobs
        self._monitor = monitor
        self._name = name
        self._lock_ms = lock_ms
        self._every = every_ms / 1000
        self._lost = lost
        self._report = report
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
                self._call_home(self._report, error)
            await asyncio.sleep(retry_delay.wait())

    async def _keep(self, retry_delay: RetryDelay) -> None:
        """Renew over one connection as long as it works."""
        link = await open_link(self._settings, name=f"{self._name}:renew", wait=True)
        try:
            while True:
                good = await self._turn(link)
                if good:
                    retry_delay.clear()
                await asyncio.sleep(self._every if good else retry_delay.wait())
        finally:
            await link.close()

    async def _turn(self, link: Link) -> bool:
        """Renew every lock. False if that failed and has to be retried soon."""
        if self._monitor.silence > SILENCE_LIMIT:
            logger.warning(
                "The event loop has been blocked for %.0f s: its locks are not renewed", self._monitor.silence
            )
            return True
        try:
            await self._renew(link, self._active_jobs.all())
        except LinkClosed:
            raise
        except Exception as error:
            self._call_home(self._report, error)
            return False
        return True

    async def _renew(self, link: Link, active_jobs: list[ActiveJob]) -> None:
        for first in range(0, len(active_jobs), wire.MAX_ROWS):
            some = active_jobs[first : first + wire.MAX_ROWS]
            refused = await renew(link, self._keys, [active.claimed for active in some], lock_ms=self._lock_ms)
            self.renewed += len(some) - len(refused)
            for number, refusal in refused.items():
                if refusal is not Refusal.DONE:
                    self._call_home(self._lost, some[number])

    def _call_home(self, function: Callable[..., None], argument: object) -> None:
        assert self._home is not None
        with suppress(RuntimeError):  # the worker's loop is gone
            self._home.call_soon_threadsafe(function, argument)


async def _finish(task: asyncio.Task[None]) -> None:
    await task


def _set(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)
