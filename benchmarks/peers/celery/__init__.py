"""Celery on Redis, with its prefork pool."""

from __future__ import annotations

from functools import partial

from benchmarks.peers import pip
from benchmarks.side import Side

CELERY = Side(
    "celery",
    worker=pip.command("celery", "worker"),
    producer=pip.command("celery", "producer"),
    notes="pool prefork (better here than threads or gevent), children = concurrency asked, one for each processor at most, "
    "and their parent; prefetch multiplier 128 (default 4); without gossip, mingle and heartbeat; hiredis, JSON, log off. "
    "The children count jobs in shared memory, which takes a job some microseconds. 100 at once = 8 threads; no bulk call. All "
    "results kept = Redis backend for 1 day (default is no backend), none = ignore_result; the producer has no backend, so it "
    "does not subscribe to results. No events (default), no locks. Acknowledged before it runs (default): a job that runs is "
    "lost when the worker dies, a prefetched one returns after 1 hour (visibility timeout). Delayed jobs go to the worker at "
    "once, wait in its memory, and stand in the way of those added later",
    can=frozenset(
        {
            *("one", "at once", "sync", "keep all", "keep none"),
            *("work", "pace", "delay", "retry", "queues"),
        },
    ),
    env=pip.environment(),
    install=partial(pip.install, "celery"),
    stays=False,
)
