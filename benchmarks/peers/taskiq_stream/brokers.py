"""taskiq's broker for a queue, as producer and worker need it: streams, or lists if the side says so."""

from __future__ import annotations

import os
from typing import Any

from talk import url
from taskiq_redis import ListQueueBroker, RedisStreamBroker

LISTS = os.environ.get("TASKIQ_BROKER") == "list"

LIBRARIES = ("taskiq", "taskiq-redis", "redis", "hiredis", "uvloop")


def broker_of(queue: str) -> Any:
    # The client's default of 5 s breaks off the BRPOP of an idle worker, and a worker that reads a stream did not always end.
    broker = ListQueueBroker if LISTS else RedisStreamBroker
    return broker(url(), queue_name=queue, socket_timeout=None)
