"""How far 1 to 8 worker processes on one queue come, beside one process in the same run.

The cores are left to the kernel here, whatever --cores says: `apart` would squeeze all workers into one. Server and workers
then share the cores there are, so `times_one` cannot reach the number of processes on a small machine: `times_most` is
what would come out if all cores did nothing but these jobs, at the CPU time that a job took in that very run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks.program import PATIENCE, Program
from benchmarks.scenario import Figures, Scenario, Variant
from benchmarks.side import Side
from benchmarks.stand import Stand

_WARM = 2_000
_BURN_US = 1_000
_POLL = 0.005  # seconds; a question costs the server some 10 us


def _measure(stand: Stand, side: Side, variant: Variant, jobs: int) -> Figures:
    processes = variant.settings["processes"]
    assert isinstance(processes, int)
    burns = variant.settings["work"] == "1 ms"
    warm = min(_WARM, jobs)
    with ExitStack() as running:
        producer = running.enter_context(stand.producer(side))
        workers = [running.enter_context(stand.worker(side)) for _ in range(processes)]
        for queue in ("one", "all"):
            producer.ask(
                "seconds", do="add", queue=queue, jobs=jobs, way="bulk", data={"burn": _BURN_US} if burns else {}
            )
        for n, _ in enumerate(workers):
            producer.ask("seconds", do="add", queue=f"warm-{n}", jobs=warm, way="bulk")
        running.enter_context(stand.on_all_cores(*(worker.pid for worker in workers)))
        # Few at a time where they take long, so that no process is left with the last hundred.
        concurrency = 10 if burns else 100
        for n, worker in enumerate(workers):
            _work_off(stand, side, [worker], f"warm-{n}", warm, concurrency)
        one = _work_off(stand, side, workers[:1], "one", jobs, concurrency)
        figures = _work_off(stand, side, workers, "all", jobs, concurrency) if processes > 1 else one
    if burns and figures["worker_us"] < 0.8 * _BURN_US:
        raise RuntimeError(f"{figures['worker_us']:.0f} us of CPU a job where {_BURN_US} were to be burnt")
    spent = figures["worker_us"] + figures["server_us"]
    most = len(os.sched_getaffinity(0)) * 1e6 / spent / one["rate"]
    return {
        **figures,
        "times_one": figures["rate"] / one["rate"],
        "times_most": min(processes, most),
        "cores": figures["rate"] * spent / 1e6,
    }


def _work_off(stand: Stand, side: Side, workers: Sequence[Program], queue: str, jobs: int, concurrency: int) -> Figures:
    for worker in workers:
        worker.ask("ready", do="ready", queues=[queue], concurrency=concurrency, keep=None)
    meter = stand.meter(workers=workers)
    for worker in workers:
        # One more than there are: no worker knows its share, so none is to say when it is done.
        worker.tell(do="begin", jobs=jobs + 1)
    ends = time.monotonic() + PATIENCE
    while stand.completed(queue) < jobs:
        if time.monotonic() > ends:
            raise RuntimeError(f"{stand.completed(queue)} of {jobs} jobs were done after {PATIENCE:.0f} s")
        time.sleep(_POLL)
    figures = meter.read(jobs)
    handled = sum(worker.ask("ended", do="end")["handled"] for worker in workers)
    if handled != jobs:
        raise RuntimeError(f"{queue}: {handled} jobs were handled and should be {jobs}")
    return figures


SCALE = Scenario(
    "scale",
    "jobs worked off a second by 1 to 8 worker processes on one queue; handlers that burn 1 ms of CPU, and that do nothing",
    variants=tuple(
        Variant({"work": work, "processes": processes}, trial=trial)
        for work, trial in (("1 ms", 500), ("none", 10_000))
        for processes in (1, 2, 4, 8)
    ),
    measure=_measure,
    main="rate",
    shown=("rate", "times_one", "times_most", "cores", "server_us", "worker_us", "others"),
    has_limit=False,
    alone=True,
    units={"times_one": "x one process", "times_most": "x one, at most", "cores": "cores busy"},
)
