"""What one worker process gets through while one producer process adds, 100 at once, as fast as it can."""

from __future__ import annotations

from benchmarks.program import Program
from benchmarks.scenario import Figures, Scenario, Variant, keeping
from benchmarks.side import Side
from benchmarks.stand import Stand
from benchmarks.steps import tally

_WARM = 3_000


def _measure(stand: Stand, side: Side, variant: Variant, jobs: int) -> Figures:
    with stand.producer(side) as producer, stand.worker(side) as worker:
        if not worker.warm:
            _pass_through(stand, side, variant, producer, worker, "warm", min(_WARM, jobs))
            worker.warm = True
        return _pass_through(stand, side, variant, producer, worker, "bench", jobs)


def _pass_through(
    stand: Stand, side: Side, variant: Variant, producer: Program, worker: Program, queue: str, jobs: int
) -> Figures:
    concurrency = variant.settings["concurrency"]
    worker.ask("ready", do="ready", queues=[queue], concurrency=concurrency, keep=None)
    worker.tell(do="begin", jobs=jobs)
    meter = stand.meter(workers=[worker], producers=[producer])
    adding = producer.ask("seconds", do="add", queue=queue, jobs=jobs, way="at once")
    backlog = stand.waiting(side, queue, producer)
    worker.hear("handled")
    stand.wait_until_idle(side, queue)
    figures = meter.read(jobs)
    handled = worker.ask("ended", do="end")["handled"]
    return {
        **figures,
        "add_rate": jobs / adding,
        "backlog": backlog,
        **tally(stand, side, [queue], tries=jobs, jobs=jobs, handled=handled),
    }


MIXED = Scenario(
    "mixed",
    "jobs a second from the first add to the last result, while they are added; backlog: waiting after the last add",
    variants=tuple(
        Variant({"concurrency": concurrency}, trial=trial, needs=frozenset({"at once", keeping(None)}))
        for concurrency, trial in ((10, 5_000), (100, 8_000))
    ),
    measure=_measure,
    main="rate",
    shown=(
        "rate",
        "cpu_rate",
        "add_rate",
        "backlog",
        "server_us",
        "worker_us",
        "producer_us",
        "commands",
        "reads",
        "bytes",
        "others",
    ),
    has_limit=False,
    sliced=True,
    units={"add_rate": "added, jobs/s", "backlog": "backlog, jobs"},
)
