"""BullMQ's port to Python, by its own authors."""

from __future__ import annotations

from functools import partial

from benchmarks.peers import pip
from benchmarks.side import Side

BULLMQ_PYTHON = Side(
    "bullmq_python",
    worker=pip.command("bullmq_python", "worker"),
    producer=pip.command("bullmq_python", "producer"),
    notes="concurrency as asked (default 1), given redis-py clients on a pool of up to 500 connections (given a URL it keeps one "
    "and is slower), hiredis, uvloop; fetches no next job with a result; events (no option drops them) and locks on; waits "
    "for delayed jobs in whole seconds; addBulk of 1,000",
    can=frozenset({
        "one", "at once", "bulk",
        "keep all", "keep some", "keep none",
        "work", "pace", "delay", "retry", "recover", "queues", "wire",
    }),
    env=pip.environment(),
    install=partial(pip.install, "bullmq_python"),
)  # fmt: skip
