"""RQ."""

from __future__ import annotations

from functools import partial

from benchmarks.peers import pip
from benchmarks.side import Side

RQ = Side(
    "rq",
    worker=pip.command("rq", "worker"),
    producer=pip.command("rq", "producer"),
    notes="SimpleWorker (no fork for each job, as the default worker has it), hiredis, log off; one job at a time whatever "
    "the concurrency asked. enqueue_many of 1,000; 100 at once = 8 threads. All results kept = result_ttl 500 s (default), "
    "none = result_ttl 0. No events; a job that runs has a record with an expiry in place of a lock: when the worker dies "
    "it is marked failed by a clean-up every 10 minutes, and runs again only if it has retries left. Delayed jobs: RQ's "
    "scheduler, here in a thread, looks once a second",
    can=frozenset(
        {
            *("one", "at once", "bulk", "sync", "keep all", "keep none"),
            *("work", "pace", "delay", "retry", "queues"),
        },
    ),
    env=pip.environment(),
    install=partial(pip.install, "rq"),
    stays=False,
)
