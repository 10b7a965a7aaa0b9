"""Celery's producer: `apply_async` for each job."""

from __future__ import annotations

from typing import Any

from blocking import Data, Options, produce
from celery import Celery
from redis import Redis
from talk import url


class Producer:
    def __init__(self, name: str) -> None:
        self._name = name
        broker = url().replace("unix://", "redis+socket://", 1)
        self._job = Celery("bench", broker=broker).task(name="job")(_job)
        self._redis = Redis.from_url(url())

    def add(self, data: Data, options: Options) -> None:
        # Whether a result is kept is left to the worker's task, which is told so.
        settings: dict[str, Any] = {"queue": self._name, "ignore_result": None}
        if "delay" in options:
            settings["countdown"] = options["delay"] / 1000
        self._job.apply_async((data, options.get("attempts", 1)), **settings)

    def waiting(self) -> int:
        return int(self._redis.llen(self._name))


def _job(given: Data, attempts: int) -> None:
    """Stands for the worker's task of that name."""


if __name__ == "__main__":
    produce(Producer, "celery", "kombu", "redis", "hiredis")
