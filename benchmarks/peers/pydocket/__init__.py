"""docket (on PyPI: pydocket), Prefect's."""

from __future__ import annotations

from functools import partial

from benchmarks.peers import pip
from benchmarks.side import Side

PYDOCKET = Side(
    "pydocket",
    worker=pip.command("pydocket", "worker"),
    producer=pip.command("pydocket", "producer"),
    notes="concurrency as asked (default 10), minimum_check_interval 1 ms for each queue of a worker and 250 at most (default 250: "
    "a worker with all hands full waits that long), max_connections 2,000 (the client's 100 are too few for a concurrency of "
    "100), add_many of 1,000, hiredis and uvloop; OpenTelemetry's calls run, without an exporter. Results: what became of a "
    "job for 15 minutes (default), or execution_ttl 0. No stream of events (a PUBLISH at each change). Delayed jobs are "
    "looked at four times a second. A job is its worker's for redelivery_timeout (30 s, or `lock`; default 5 minutes), renewed "
    "while it runs",
    can=frozenset(
        {"one", "at once", "bulk", "keep all", "keep none", "work", "pace", "delay", "retry", "recover", "queues"}
    ),
    env=pip.environment(),
    install=partial(pip.install, "pydocket"),
    stays=False,
)
