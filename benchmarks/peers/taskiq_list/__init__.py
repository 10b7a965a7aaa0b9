"""taskiq with its list broker: the programs and the environment of taskiq_stream."""

from __future__ import annotations

from functools import partial

from benchmarks.peers import pip
from benchmarks.side import Side

TASKIQ_LIST = Side(
    "taskiq_list",
    worker=pip.command("taskiq_stream", "worker"),
    producer=pip.command("taskiq_stream", "producer"),
    notes="ListQueueBroker, max_async_tasks as asked (default 100), max_prefetch 100 (default 0), validate_params off, no "
    "socket_timeout (the client's 5 s break off BRPOP), hiredis and uvloop. Results: RedisAsyncResultBackend for 3,600 s, or "
    "none (default). No events, no acknowledgement: what a worker has fetched is lost when it dies. No bulk call, no delays "
    "without a scheduler process; a retry is a new entry",
    can=frozenset({"one", "at once", "keep all", "keep none", "work", "pace", "retry", "queues"}),
    env={**pip.environment(), "TASKIQ_BROKER": "list"},
    install=partial(pip.install, "taskiq_stream"),
    stays=False,
)
