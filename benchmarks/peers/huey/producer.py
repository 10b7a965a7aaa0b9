"""Huey's producer: a task is called for each job."""

from __future__ import annotations

from typing import Any

from blocking import Data, Options, produce
from huey import RedisHuey
from talk import url


class Producer:
    def __init__(self, name: str) -> None:
        self._huey = RedisHuey(name, url=url(), clean_name=False)
        self._job = self._huey.task(name="job")(job)
        self._tried_job = self._huey.task(name="tried_job")(job)

    def add(self, data: Data, options: Options) -> None:
        settings: dict[str, Any] = {}
        if "delay" in options:
            settings["delay"] = options["delay"] / 1000
        if "attempts" in options:
            tries = options["attempts"]
            self._huey.enqueue(self._tried_job.s(data, tries, retries=tries - 1, **settings))
        else:
            self._huey.enqueue(self._job.s(data, **settings))

    def waiting(self) -> int:
        return int(self._huey.storage.queue_size())


def job(given: Data) -> None:
    """Stands for the worker's function of that name."""


if __name__ == "__main__":
    produce(Producer, "huey", "redis", "hiredis")
