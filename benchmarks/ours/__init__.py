"""The engine, and the bare loop that is its limit, as sides of the comparison."""

from __future__ import annotations

import sys

from benchmarks.side import LIMIT, OURS, Side


def _module(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"benchmarks.ours.{name}")


ENGINE = Side(
    OURS,
    worker=_module("worker"),
    producer=_module("producer"),
    notes="defaults, uvloop, events and locks on, log off, one link; many queues: a Worker for each, in one WorkerGroup",
    can=frozenset(
        {
            *("one", "at once", "bulk", "sync", "keep all", "keep some", "keep none"),
            *("work", "pace", "delay", "retry", "recover", "queues", "wire", "no events", "result events"),
        }
    ),
)

BARE = Side(
    LIMIT,
    worker=_module("bare_worker"),
    producer=_module("bare_producer"),
    notes="the engine's scripts in a loop with no worker around them: no payload is decoded, no handler called, no "
    "lock renewed. Two turns in flight, each for as many jobs as the concurrency says (one in flight at concurrency 1)",
    can=frozenset(
        {"one", "at once", "bulk", "keep all", "keep some", "keep none", "wire", "no events", "result events"}
    ),
)
