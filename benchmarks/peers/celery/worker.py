"""Celery's worker with its children, started by this program and in its process."""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from array import array
from collections.abc import Callable
from multiprocessing import Value
from typing import Any

from blocking import Data, handle, work_in_front
from celery import Celery, bootsteps
from celery.worker import state
from talk import Order, Tally, say, url

_PATIENCE = 5.0  # seconds for what was taken to end


class SharedTally:
    """What all children have counted, in memory that they inherit. Costs a job one semaphore and no word to the parent;
    the child that runs the last job says so itself. Delays go into a file, in pieces that are appended whole."""

    def __init__(self) -> None:
        self._wanted = Value("q", -1, lock=False)
        self._handled = Value("q", 0)
        self._delays = tempfile.TemporaryFile("a+b", buffering=0)  # noqa: SIM115, it lives as long as the tally
        self._own = Tally()

    @property
    def wanted(self) -> int:
        return int(self._wanted.value)

    @wanted.setter
    def wanted(self, jobs: int) -> None:
        self._wanted.value = jobs

    def handle(self, given: Data, tried: int) -> None:
        """In a child."""
        try:
            handle(self._own, given, tried)
        finally:
            self._share()

    def _share(self) -> None:
        if self._own.delays:
            self._delays.write(array("q", self._own.delays))
            self._own.delays.clear()
        with self._handled.get_lock():
            self._handled.value += 1
            last = self._handled.value == self._wanted.value
        if last:
            say(handled=self.wanted)

    def ended(self) -> None:
        self._delays.seek(0)
        delays = array("q", self._delays.read())
        self._delays.close()
        say(ended={"handled": self._handled.value, "delays": delays.tolist()})


class Gate(bootsteps.StartStopStep):  # type: ignore[misc]
    """Holds the worker's start between the pool, which forks, and the consumer, which takes jobs."""

    requires = ("celery.worker.components:Pool",)
    begin: Callable[[], None]

    def start(self, worker: Any) -> None:
        Gate.begin()


# One for all orders: what Celery remembers of an app in the process is not forgotten when the next one comes.
place = url().replace("unix://", "redis+socket://", 1)
app = Celery("bench", broker=place, backend=place)
app.conf.update(worker_prefetch_multiplier=128, worker_redirect_stdouts=False)
app.steps["worker"].add(Gate)
tally = SharedTally()


def run(task: Any, given: Data, attempts: int) -> None:
    try:
        tally.handle(given, task.request.retries)
    except RuntimeError as error:
        if attempts == 1:
            raise
        raise task.retry(exc=error, countdown=0, max_retries=attempts - 1) from None


job = app.task(name="job", bind=True)(run)


class Working:
    def __init__(self, order: Order) -> None:
        global tally
        self.tally = tally = SharedTally()
        self._order = order

    def run(self, begin: Callable[[], None]) -> None:
        Gate.begin = begin
        # The children look at it when they start.
        job.ignore_result = self._order["keep"] == 0
        worker = app.Worker(
            pool="prefork",
            concurrency=min(self._order["concurrency"], os.cpu_count() or 1),
            queues=self._order["queues"],
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            loglevel="CRITICAL",
            quiet=True,
        )
        worker.start()
        state.should_stop = None

    def stop(self) -> None:
        # A child says that the last job is handled before the parent knows; what it has not acknowledged, it would put back.
        ends = time.monotonic() + _PATIENCE
        while state.reserved_requests and time.monotonic() < ends:
            time.sleep(0.005)
        state.should_stop = 0


if __name__ == "__main__":
    # Said at the start of every worker in a container.
    warnings.filterwarnings("ignore", "You're running the worker with superuser")
    work_in_front(Working, "celery", "kombu", "redis", "hiredis")
