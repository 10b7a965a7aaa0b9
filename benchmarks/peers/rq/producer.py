"""RQ's producer: `enqueue`, and `enqueue_many` for the bulk."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from blocking import Data, Options, produce
from redis import Redis
from rq import Queue, Retry
from talk import url

_JOB = "__main__.job"  # the worker program's


class Producer:
    def __init__(self, name: str) -> None:
        self._queue = Queue(name, connection=Redis.from_url(url()))

    def add(self, data: Data, options: Options) -> None:
        if "delay" in options:
            self._delay(data, options, None)
        else:
            self._queue.enqueue(_JOB, *_arguments(data, options), retry=_retry(options))

    def add_many(self, many: list[Data], options: Options) -> None:
        if "delay" in options:
            with self._queue.connection.pipeline() as pipeline:
                for data in many:
                    self._delay(data, options, pipeline)
                pipeline.execute()
        else:
            retry = _retry(options)
            self._queue.enqueue_many(
                [Queue.prepare_data(_JOB, _arguments(data, options), retry=retry) for data in many]
            )

    def _delay(self, data: Data, options: Options, pipeline: Any) -> None:
        delay = timedelta(milliseconds=options["delay"])
        self._queue.enqueue_in(delay, _JOB, *_arguments(data, options), retry=_retry(options), pipeline=pipeline)

    def waiting(self) -> int:
        return int(self._queue.count)


def _arguments(data: Data, options: Options) -> tuple[Any, ...]:
    """The attempts too where there are several: a job knows how many it has left, not how many it had."""
    return (data, options["attempts"]) if options.get("attempts", 1) > 1 else (data,)


def _retry(options: Options) -> Any:
    attempts = options.get("attempts", 1)
    return Retry(max=attempts - 1) if attempts > 1 else None


if __name__ == "__main__":
    produce(Producer, "rq", "redis", "hiredis")
