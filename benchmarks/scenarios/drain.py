"""How fast one worker process works off a full queue of jobs that do nothing."""

from __future__ import annotations

import time

from benchmarks.measure import Watch, cpu_seconds, peak_memory_mb
from benchmarks.program import Program
from benchmarks.scenario import Figures, Scenario, Variant
from benchmarks.side import Side
from benchmarks.stand import Stand

_WARM = 3_000


def _measure(stand: Stand, side: Side, variant: Variant, jobs: int) -> Figures:
    figures: Figures = {}
    with stand.producer(side) as producer:
        producer.ask("seconds", do="add", queue="warm", jobs=min(_WARM, jobs), way="bulk")
        before, cpu = stand.counters(), cpu_seconds(producer.pid)
        producer.ask("seconds", do="add", queue="bench", jobs=jobs, way="bulk")
        figures["producer_us"] = (cpu_seconds(producer.pid) - cpu) / jobs * 1e6
        figures["add_server_us"] = stand.counters().per_job(before, jobs)["server_us"]
    with stand.worker(side) as worker:
        _work_off(stand, worker, "warm", variant, min(_WARM, jobs))
        figures |= _work_off(stand, worker, "bench", variant, jobs)
        figures["worker_mb"] = peak_memory_mb(worker.pid)
    return figures


def _work_off(stand: Stand, worker: Program, queue: str, variant: Variant, jobs: int) -> Figures:
    keep = variant.settings["keep"]
    worker.ask("ready", do="ready", queue=queue, concurrency=variant.settings["concurrency"], keep=keep)
    before, cpu = stand.counters(), cpu_seconds(worker.pid)
    watch = Watch(stand.server_pid, worker.pid)
    began = time.monotonic()
    worker.ask("handled", do="begin", jobs=jobs)
    stand.wait_until_idle(queue)
    seconds = time.monotonic() - began
    others = watch.others()
    worker_cpu = cpu_seconds(worker.pid) - cpu
    figures = stand.counters().per_job(before, jobs)
    handled = worker.ask("ended", do="end")["handled"]
    kept = jobs if keep is None else min(int(keep), jobs)
    left = (handled, stand.waiting(queue), stand.completed(queue))
    if left != (jobs, 0, kept):
        raise RuntimeError(f"handled, waiting, completed are {left} and should be {(jobs, 0, kept)}")
    return {"rate": jobs / seconds, "worker_us": worker_cpu / jobs * 1e6, "others": others, **figures}


DRAIN = Scenario(
    "drain",
    "jobs worked off a second, one worker process, handlers that do nothing",
    variants=tuple(
        Variant({"concurrency": concurrency, "keep": keep}, trial=trial)
        for concurrency, trial in ((1, 3_000), (10, 6_000), (100, 10_000))
        for keep in (None, 10)
    ),
    measure=_measure,
    main="rate",
    shown=("rate", "server_us", "add_server_us", "worker_us", "commands", "reads", "bytes", "worker_mb", "others"),
)
