"""Huey's consumer, in this process."""

from __future__ import annotations

import logging
from typing import Any

from blocking import Data, handle, work_behind
from huey import RedisHuey
from talk import Order, Tally, url


class Working:
    def __init__(self, order: Order) -> None:
        self.tally = Tally()
        (queue,) = order["queues"]
        huey = RedisHuey(queue, url=url(), clean_name=False, results=order["keep"] is None, store_none=True)
        huey.task(name="job")(self.job)
        huey.task(name="tried_job", context=True)(self.tried_job)
        self._consumer = huey.create_consumer(workers=1, periodic=False)

    def job(self, given: Data) -> None:
        handle(self.tally, given, 0)

    def tried_job(self, given: Data, tries: int, task: Any) -> None:
        handle(self.tally, given, tries - 1 - task.retries)

    def begin(self) -> None:
        self._consumer.start()

    def end(self) -> None:
        self._consumer.stop(graceful=True)


if __name__ == "__main__":
    logging.getLogger("huey").setLevel(logging.CRITICAL)
    work_behind(Working, "huey", "redis", "hiredis")
