"""Dramatiq's worker threads, in this process."""

from __future__ import annotations

import logging
from typing import Any

import dramatiq
from blocking import Data, handle, work_behind
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import CurrentMessage
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from redis import Redis
from talk import Order, Tally, url

_THREADS = 8
_CONNECTIONS = 10_000  # each queue has two threads that read; redis-py stops at 100


class Working:
    def __init__(self, order: Order) -> None:
        self.tally = Tally()
        self._broker = RedisBroker(client=Redis.from_url(url(), max_connections=_CONNECTIONS))
        self._broker.add_middleware(CurrentMessage())
        if order["keep"] is None:
            self._broker.add_middleware(Results(backend=RedisBackend(url=url()), store_results=True))
        first, *others = order["queues"]
        dramatiq.actor(self._job, broker=self._broker, actor_name="job", queue_name=first, max_retries=0)
        for queue in others:
            self._broker.declare_queue(queue)
        self._worker: Any = dramatiq.Worker(self._broker, worker_threads=min(order["concurrency"], _THREADS))

    def _job(self, given: Data) -> None:
        tried = CurrentMessage.get_current_message().options.get("retries", 0) if given.get("fail") else 0
        handle(self.tally, given, tried)

    def begin(self) -> None:
        self._worker.start()

    def end(self) -> None:
        self._worker.stop()
        self._broker.close()


if __name__ == "__main__":
    logging.getLogger("dramatiq").setLevel(logging.CRITICAL)
    work_behind(Working, "dramatiq", "redis", "hiredis")
