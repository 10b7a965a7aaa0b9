"""`--processes`: starts worker processes, restarts those that end, passes signals on.

Knows processes and their reports; knows neither processors nor Redis, and does not import the user's module.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any

from engine.worker.process.health import Endpoint, HealthServer, Report
from engine.worker.process.parent import WorkerProcess

logger = logging.getLogger("engine.worker")

_FIRST_PAUSE = 0.5  # seconds before a dead child is started again; doubles with each early death
_LONGEST_PAUSE = 30.0
_SETTLED = 60.0
"""Seconds after which a child counts as settled: its end begins a new count of early ends."""
_MARGIN = 10.0
"""Seconds beyond the grace time after which a child that did not end is killed."""
UNFIT = 3
"""Exit code of a process that found the server unfit for jobs: it is not started again."""


class Supervisor:
    """Keeps `count` worker processes running with the given arguments and environment, until SIGTERM or SIGINT, or until one
    of them finds the server unfit.

    The first child is started alone. If it ends before it works, the parent ends with its exit code, so that an error in
    the options, the module or the server is reported once.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        env: Mapping[str, str],
        count: int,
        *,
        grace: float,
        health: Endpoint | None = None,
    ) -> None:
        self._arguments = arguments
        self._env = env
        self._count = count
        self._grace = grace
        self._health = HealthServer(health, self.report) if health else None
        self._children: dict[int, WorkerProcess | None] = {}
        """Slot -> its process; None between a death and the next start."""
        self._stopping = asyncio.Event()
        self._codes: list[int] = []

    async def run(self) -> int:
        """Run until all children have ended after a signal. 0 if each ended with 0, UNFIT if the server is unfit for jobs."""
        self._watch_signals()
        try:
            if self._health:
                logger.info("Health at %s", await self._health.start())
            first = await self._start(0)
            if not await first.came_up() and not self._stopping.is_set():
                return max(await first.wait(), 1)
            await asyncio.gather(self._keep(0, first), *(self._keep(slot) for slot in range(1, self._count)))
            return UNFIT if UNFIT in self._codes else 1 if any(self._codes) else 0
        finally:
            self._end_all()
            if self._health:
                await self._health.close()

    def report(self) -> Report:
        """Good while every child reports that it is."""
        reports = {slot: child.current() if child else _BETWEEN for slot, child in self._children.items()}
        bad = {slot: report for slot, report in reports.items() if not report.is_good}
        processes = [_as_row(slot, self._children[slot], report) for slot, report in reports.items()]
        if len(reports) < self._count or bad:
            slot, worst = next(iter(bad.items()), (len(reports), _BETWEEN))
            return Report(status="failing", reason=f"process {slot}: {worst.reason}", processes=processes)
        return Report(status="draining" if self._stopping.is_set() else "ok", processes=processes)

    async def _start(self, slot: int) -> WorkerProcess:
        child = await WorkerProcess.start(self._arguments, env=self._env)
        self._children[slot] = child
        if self._stopping.is_set():  # the stop came while it was being started, and has not reached it
            child.signal(signal.SIGTERM)
        return child

    async def _keep(self, slot: int, child: WorkerProcess | None = None) -> None:
        """Keep one slot filled until the stop."""
        deaths = 0
        while child is not None or not self._stopping.is_set():
            child = child or await self._start(slot)
            code = await child.wait()
            self._children[slot] = None
            if code == UNFIT:
                self._stop(signal.SIGTERM)
            if self._stopping.is_set():
                # One that was still starting has no jobs, and no handler for the signal yet.
                self._codes.append(code if child.has_come_up or code > 0 else 0)
                return
            deaths = 1 if time.monotonic() - child.began > _SETTLED else deaths + 1
            pause = pause_after(deaths)
            logger.warning("Worker process %s %s; a new one starts in %.1f s", child.pid, _ending(code), pause)
            child = None
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    def _watch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        loop.add_signal_handler(signal.SIGUSR1, self._pass_on, signal.SIGUSR1)

    def _stop(self, number: signal.Signals) -> None:
        if not self._stopping.is_set():
            logger.info("Stopping %s worker processes", self._count)
            self._stopping.set()
            asyncio.get_running_loop().call_later(self._grace + _MARGIN, self._pass_on, signal.SIGKILL)
        self._pass_on(number)

    def _pass_on(self, number: signal.Signals) -> None:
        for child in self._children.values():
            if child:
                child.signal(number)

    def _end_all(self) -> None:
        """End what is left after an error here. Killed, the parent cannot; then its children end by themselves."""
        self._pass_on(signal.SIGTERM)


_BETWEEN = Report(status="failing", reason="being started")


def pause_after(deaths: int) -> float:
    """Seconds to wait after so many early ends in a row: doubled each time, with jitter so that children do not start together."""
    doubled: float = min(_FIRST_PAUSE * 2 ** min(deaths - 1, 16), _LONGEST_PAUSE)
    return doubled * random.uniform(0.75, 1.25)


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"


def _as_row(slot: int, child: WorkerProcess | None, report: Report) -> dict[str, Any]:
    row: dict[str, Any] = {"process": slot, "status": report.status}
    if child:
        row["pid"] = child.pid
    if report.reason:
        row["reason"] = report.reason
    if report.queues:
        row["queues"] = report.queues
    return row
