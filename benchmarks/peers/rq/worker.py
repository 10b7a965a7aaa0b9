"""RQ's SimpleWorker, which runs jobs in its own process and thread, and its scheduler."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from threading import Event, Thread

from blocking import Data, handle, work_in_front
from redis import Redis
from rq import Queue, SimpleWorker, get_current_job
from rq.defaults import DEFAULT_RESULT_TTL
from rq.scheduler import RQScheduler
from talk import Order, Tally, url

_LOG_LEVEL = "CRITICAL"  # what is below ERROR would go to stdout, among the answers

tally = Tally()


def job(given: Data, attempts: int = 1) -> None:
    tried = attempts - 1 - get_current_job().retries_left if attempts > 1 else 0
    handle(tally, given, tried)


class Working:
    def __init__(self, order: Order) -> None:
        global tally
        self.tally = tally = Tally()
        connection = Redis.from_url(url())
        queues = [Queue(name, connection=connection) for name in order["queues"]]
        kept = DEFAULT_RESULT_TTL if order["keep"] is None else 0
        self._worker = SimpleWorker(queues, connection=connection, default_result_ttl=kept)
        self._scheduler = RQScheduler(queues, connection=connection, logging_level=_LOG_LEVEL)
        self._stopped = Event()

    def run(self, begin: Callable[[], None]) -> None:
        begin()
        scheduling = Thread(target=self._schedule, daemon=True)
        scheduling.start()
        self._worker.work(logging_level=_LOG_LEVEL)
        scheduling.join()

    def _schedule(self) -> None:
        """What RQ does in a process, which would live on if this one were killed."""
        self._scheduler.acquire_locks()
        while not self._stopped.wait(self._scheduler.interval):
            self._scheduler.heartbeat()
            self._scheduler.enqueue_scheduled_jobs()
        self._scheduler.release_locks()

    def stop(self) -> None:
        self._stopped.set()
        # The warm shutdown of RQ; it goes through the handler, which breaks off the wait for a job.
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    work_in_front(Working, "rq", "redis", "hiredis")
