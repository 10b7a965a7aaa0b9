"""How fast jobs are added: one after the other, 100 at once, 1,000 by the bulk call. No worker runs."""

from __future__ import annotations

from benchmarks.measure import Watch, cpu_seconds
from benchmarks.scenario import Figures, Scenario, Variant
from benchmarks.side import Side
from benchmarks.stand import Stand

_WARM = 3_000


def _measure(stand: Stand, side: Side, variant: Variant, jobs: int) -> Figures:
    way = variant.settings["way"]
    with stand.producer(side) as producer:
        producer.ask("seconds", do="add", queue="warm", jobs=min(_WARM, jobs), way=way)
        before, cpu = stand.counters(), cpu_seconds(producer.pid)
        watch = Watch(stand.server_pid, producer.pid)
        seconds = producer.ask("seconds", do="add", queue="bench", jobs=jobs, way=way)
        others = watch.others()
        producer_cpu = cpu_seconds(producer.pid) - cpu
        figures = stand.counters().per_job(before, jobs)
    if stand.waiting("bench") != jobs:
        raise RuntimeError(f"{side.name}: {stand.waiting('bench')} jobs wait where {jobs} were added")
    return {"rate": jobs / seconds, "producer_us": producer_cpu / jobs * 1e6, "others": others, **figures}


ENQUEUE = Scenario(
    "enqueue",
    "jobs added a second",
    variants=(
        Variant({"way": "one"}, trial=2_000),
        Variant({"way": "at once"}, trial=10_000),
        Variant({"way": "bulk"}, trial=10_000),
    ),
    measure=_measure,
    main="rate",
    shown=("rate", "server_us", "producer_us", "commands", "reads", "bytes", "others"),
)
