"""streaq: streams, Redis functions and the coredis client, jobs pickled."""

from __future__ import annotations

from functools import partial

from benchmarks.peers import pip
from benchmarks.side import Side

STREAQ = Side(
    "streaq",
    worker=pip.command("streaq", "worker"),
    producer=pip.command("streaq", "producer"),
    notes="concurrency as asked (default 16), as many more prefetched (default), enqueue_many of 1,000, max_tries off (default 3), "
    "coredis, uvloop. Results: 300 s (default), or ttl 0. No stream of events (a PUBLISH of each result). Delayed jobs and "
    "retries are looked at twice a second. A job is its worker's for idle_timeout (60 s, or `lock`), renewed while it runs. A "
    "retry is an exception that the job raises",
    can=frozenset(
        {"one", "at once", "bulk", "keep all", "keep none", "work", "pace", "delay", "retry", "recover", "queues"}
    ),
    env=pip.environment(),
    install=partial(pip.install, "streaq"),
    stays=False,
)
