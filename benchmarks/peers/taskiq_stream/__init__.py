"""taskiq with its stream broker. The programs serve the list broker too, see taskiq_list."""

from __future__ import annotations

from functools import partial

from benchmarks.peers import pip
from benchmarks.side import Side

TASKIQ_STREAM = Side(
    "taskiq_stream",
    worker=pip.command("taskiq_stream", "worker"),
    producer=pip.command("taskiq_stream", "producer"),
    notes="RedisStreamBroker, max_async_tasks as asked (default 100), max_prefetch 100 (default 0), validate_params off, hiredis and "
    "uvloop. Results: RedisAsyncResultBackend for 3,600 s, or none (default). No events, no bulk call, no delays without a "
    "scheduler process; a retry is a new entry. Entries are never deleted from the stream (default). A killed worker's "
    "jobs are another's after 10 minutes, but only looked for when new ones come: not measured",
    can=frozenset({"one", "at once", "keep all", "keep none", "work", "pace", "retry", "queues"}),
    env=pip.environment(),
    install=partial(pip.install, "taskiq_stream"),
    stays=False,
)
