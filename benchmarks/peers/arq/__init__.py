"""arq: a sorted set that the worker polls, jobs pickled."""

from __future__ import annotations

from functools import partial

from benchmarks.peers import pip
from benchmarks.side import Side

ARQ = Side(
    "arq",
    worker=pip.command("arq", "worker"),
    producer=pip.command("arq", "producer"),
    notes="max_jobs as asked (default 10), poll_delay 0.01 s for each queue of a worker and 0.5 s at most (default 0.5), "
    "queue_read_limit at its default, log_results off, hiredis and uvloop. Results: 3,600 s (default), or keep_result 0. No "
    "events, no bulk call, no set of failed jobs; a job that waits for a day expires. It is locked for as long as a job may "
    "take and 10 s, which nothing renews: job_timeout 20 s (default 300), so a killed worker's jobs are another's 30 s after "
    "they began. A retry is an exception that the job raises",
    can=frozenset({"one", "at once", "keep all", "keep none", "work", "pace", "delay", "retry", "recover", "queues"}),
    env=pip.environment(),
    install=partial(pip.install, "arq"),
)
