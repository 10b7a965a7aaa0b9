"""saq: lists and BLMOVE, jobs as JSON."""

from __future__ import annotations

from functools import partial

from benchmarks.peers import pip
from benchmarks.side import Side

SAQ = Side(
    "saq",
    worker=pip.command("saq", "worker"),
    producer=pip.command("saq", "producer"),
    notes="concurrency as asked (default 10), orjson to dump and load, max_concurrent_ops 20 (default), hiredis and uvloop. "
    "Results: 600 s (default), or ttl -1. No locks, no stream of events (a PUBLISH at each change), no bulk call that does not "
    "wait for results. Delays are in whole seconds and looked at once a second. A killed worker's jobs are looked for once a "
    "minute, with a wait of 5 s for each, and aborted unless they have tries left: not measured. "
    "Now and then it runs a job twice",
    can=frozenset({"one", "at once", "keep all", "keep none", "work", "pace", "delay", "retry", "queues"}),
    env=pip.environment(),
    install=partial(pip.install, "saq"),
)
