"""Worker processes of the three sides: killed, stopped and started again. Each life has a ledger of its own."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.interop.soaking.sides import QUEUE, VERSIONS, soaker
from tests.support.daemons import ROOT
from tests.support.ledger import LEDGER

CONCURRENCY = 8
LOCK, SWEEP = 2_000, 400
"""Milliseconds; short, so that the jobs of a killed worker are soon found."""
NAP = (LOCK + 3 * SWEEP) / 1000
"""Seconds after which the jobs of a sleeping worker are others': BullMQ finds them at the second look."""
STALLS = 1_000
"""A job may lose this many workers: kills are what a soak makes, and no reason to fail a job."""


class Hand:
    """A worker of one side. It lives from `start` to `kill` or `stop`, any number of times."""

    def __init__(self, side: str, url: str, folder: Path) -> None:
        self.side = side
        self.kills = self.freezes = 0
        self._url = url
        self._folder = folder
        self._log = folder / f"log-{side}"
        self._numbers = itertools.count(1)
        self._ledger = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def has_worked(self) -> bool:
        """Whether it began a job in this life."""
        return self._ledger.stat().st_size > 0

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        self._ledger = self._folder / f"worked-{self.side}-{next(self._numbers)}"
        self._ledger.touch()
        command, env = self._node() if self.side in VERSIONS else self._us()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=os.environ | env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    async def kill(self) -> None:
        """As a machine dies: nothing is given back."""
        assert self._process is not None
        self._process.kill()
        self.kills += 1
        await asyncio.to_thread(self._process.wait, 20)

    async def freeze(self) -> None:
        """It sleeps past its locks, and wakes with jobs in hand that are others' by then; unless it dies meanwhile."""
        assert self._process is not None
        sleeping = self._process
        sleeping.send_signal(signal.SIGSTOP)
        self.freezes += 1
        try:
            await asyncio.sleep(NAP)
        finally:
            sleeping.send_signal(signal.SIGCONT)

    async def stop(self) -> None:
        """Let it finish what it does; when this returns it has said its last word to the server."""
        assert self._process is not None
        self._process.terminate()
        code = await asyncio.to_thread(self._process.wait, 30)
        # Told before it listened to signals: then it has not come to the server either.
        too_early = code == -signal.SIGTERM and not self.has_worked
        assert code == 0 or too_early, f"the worker of {self.side} ended with {code}: see {self._log}"

    def close(self) -> None:
        """At the end of everything, whatever it does."""
        if self.is_alive:
            assert self._process is not None
            self._process.kill()
            self._process.wait(20)

    def _node(self) -> tuple[list[str], dict[str, str]]:
        times = {"lockDuration": LOCK, "stalledInterval": SWEEP, "drainDelay": 1}
        options = {"concurrency": CONCURRENCY, "maxStalledCount": STALLS, **times}
        setup = {"role": "worker", "queue": QUEUE, "ledger": str(self._ledger), "options": options}
        return soaker(self.side, self._url, setup)

    def _us(self) -> tuple[list[str], dict[str, str]]:
        said = f"--queue {QUEUE}={CONCURRENCY} --lock-duration {LOCK} --stalled-interval {SWEEP} --max-stalled {STALLS}"
        target = [sys.executable, "-m", "engine.worker", "tests.interop.soaking.work", "--redis", self._url]
        return [*target, *said.split(), "--log-level", "warning"], {LEDGER: str(self._ledger)}


def worked(folder: Path) -> Iterator[list[str]]:
    """What all workers noted, in all their lives: [start or end, id, ATS, PID]; lines that were cut short left out."""
    for path in sorted(folder.glob("worked-*")):
        yield from (words for line in path.read_text().splitlines() if len(words := line.split()) == 4)
