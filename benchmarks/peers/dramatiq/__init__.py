"""Dramatiq on Redis."""

from __future__ import annotations

from functools import partial

from benchmarks.peers import pip
from benchmarks.side import Side

DRAMATIQ = Side(
    "dramatiq",
    worker=pip.command("dramatiq", "worker"),
    producer=pip.command("dramatiq", "producer"),
    notes="its worker in the program's process, hiredis, log off; as many threads as the concurrency asked, 8 (default) at "
    "most; queue prefetch 200 (default twice the threads), delay queue prefetch 200,000 (default 1,000 times the threads, and "
    "behind so many that are due far off no other is seen). An idle queue is polled with pauses that grow to 1 s (default). "
    "100 at once = 8 threads; no bulk call. All results kept = Results with its Redis backend for 10 minutes (off by "
    "default), none = no Results. No events. No locks: taken messages stand in a set of their worker; when it dies they "
    "return once its heartbeat is 60 s old and one command in 1,000 (default) cleans up, so late on a quiet queue. A "
    "delayed job goes to the worker first, waits in its memory, and is added anew; so is one tried again, after 1 ms",
    can=frozenset(
        {
            *("one", "at once", "sync", "keep all", "keep none"),
            *("work", "pace", "delay", "retry", "queues"),
        },
    ),
    env={**pip.environment(), "dramatiq_queue_prefetch": "200", "dramatiq_delay_queue_prefetch": "200000"},
    install=partial(pip.install, "dramatiq"),
)
