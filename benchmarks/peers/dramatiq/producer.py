"""Dramatiq's producer: a message is sent to an actor for each job."""

from __future__ import annotations

from typing import Any

import dramatiq
from blocking import Data, Options, produce
from dramatiq.brokers.redis import RedisBroker
from talk import url


class Producer:
    def __init__(self, name: str) -> None:
        self._broker = RedisBroker(url=url())
        self._actor = dramatiq.actor(_job, broker=self._broker, actor_name="job", queue_name=name)
        self._list = f"{self._broker.namespace}:{name}"

    def add(self, data: Data, options: Options) -> None:
        if not options:
            self._actor.send(data)
            return
        settings: dict[str, Any] = {}
        if "attempts" in options:
            # A pause of 0 means its default of 15 s.
            settings = {"max_retries": options["attempts"] - 1, "min_backoff": 1, "max_backoff": 1}
        self._actor.send_with_options(args=(data,), delay=options.get("delay"), **settings)

    def waiting(self) -> int:
        return int(self._broker.client.llen(self._list))


def _job(given: Data) -> None:
    """Stands for the worker's actor of that name."""


if __name__ == "__main__":
    produce(Producer, "dramatiq", "redis", "hiredis")
