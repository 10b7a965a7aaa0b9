"""A daemon of the chaos as a service manager keeps it: behind a proxy of its own, started again whenever it ends."""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
from pathlib import Path

from tests.faults.chaos.plan import QUEUE, Plan, address
from tests.support.daemons import Daemon
from tests.support.ledger import LEDGER, append
from tests.support.proxy import Proxy

CONCURRENCY = 40
"""So many that one daemon keeps up with the load alone: jobs that come back then start at once."""
STALLS = 1_000
"""How many workers a job may lose: the faults kill them, and that is no reason to fail a job."""
RESTART = 0.5
"""Seconds between the end of a daemon and its next start."""


class Unit:
    """`python -m engine.worker`, any number of lives; each has a ledger of its own, `worked-NAME-NUMBER`.

    Rows of the ledger `ends-NAME`: `killed PID TIME` for a SIGKILL, `exited PID CODE` where it ended by itself.
    """

    def __init__(self, name: str, plan: Plan, proxy: Proxy, folder: Path) -> None:
        self.name, self.proxy = name, proxy
        self._plan, self._folder = plan, folder
        self._ends = folder / f"ends-{name}"
        self._numbers = itertools.count(1)
        self._ledger = folder
        self._daemon: Daemon | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def has_worked(self) -> bool:
        """Whether it has started a job in this life."""
        return self._daemon is not None and self._ledger.exists()

    def start(self) -> None:
        self._keeper = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        while not self._stopping:
            daemon = self._daemon = self._new_life()
            code = await asyncio.to_thread(daemon.process.wait)
            self._daemon = None
            if code != -signal.SIGKILL:
                append(self._ends, "exited", daemon.process.pid, code)
            await asyncio.sleep(0 if self._stopping else RESTART)

    def _new_life(self) -> Daemon:
        self._ledger = self._folder / f"worked-{self.name}-{next(self._numbers)}"
        times = f"--lock-duration {self._plan.lock_ms} --stalled-interval {self._plan.sweep_ms} --max-stalled {STALLS}"
        target = f"--queue {QUEUE}={CONCURRENCY} --redis {address(self.proxy.port)}"
        said = f"tests.faults.chaos.work {target} {times} --log-level warning"
        return Daemon(said.split(), self._folder / f"log-{self.name}", {LEDGER: str(self._ledger)})

    def kill(self) -> None:
        """As a machine dies: nothing is given back."""
        if self._daemon is not None:
            append(self._ends, "killed", self._daemon.process.pid, time.monotonic())
            self._daemon.signal(signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it lives."""
        if self._daemon is not None:
            self._daemon.signal(number)

    async def stop(self) -> None:
        """Let it finish its jobs, and start it no more. How it ended is the last row of `ends-NAME`."""
        await self._end(signal.SIGTERM)

    async def close(self) -> None:
        """At the end of everything, whatever it does."""
        await self._end(signal.SIGKILL)

    async def _end(self, how: signal.Signals) -> None:
        self._stopping = True
        self.send(how)
        if self._keeper is not None:
            await self._keeper
