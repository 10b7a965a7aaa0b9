"""How fast jobs are added: one after the other, 100 at once, 1,000 by the bulk call, or without a loop. No worker runs."""

from __future__ import annotations

from benchmarks.scenario import Figures, Scenario, Variant
from benchmarks.side import Side
from benchmarks.stand import Stand

_WARM = 3_000


def _measure(stand: Stand, side: Side, variant: Variant, jobs: int) -> Figures:
    way = variant.settings["way"]
    with stand.producer(side) as producer:
        if not producer.warm:
            producer.ask("seconds", do="add", queue="warm", jobs=min(_WARM, jobs), way=way)
            producer.warm = True
        meter = stand.meter(producers=[producer])
        seconds = producer.ask("seconds", do="add", queue="bench", jobs=jobs, way=way)
        figures = meter.read(jobs, seconds=seconds)
        waiting = stand.waiting(side, "bench", producer)
    if side.on_the_wire and waiting != jobs:
        raise RuntimeError(f"{side.name}: {waiting} jobs wait where {jobs} were added")
    return {**figures, "lost": max(0, jobs - waiting), "twice": max(0, waiting - jobs)}


ENQUEUE = Scenario(
    "enqueue",
    "jobs added a second",
    variants=(
        Variant({"way": "one"}, trial=1_000, needs=frozenset({"one"})),
        Variant({"way": "at once"}, trial=5_000, needs=frozenset({"at once"})),
        Variant({"way": "bulk"}, trial=10_000, needs=frozenset({"bulk"})),
        Variant({"way": "sync"}, trial=1_000, needs=frozenset({"sync"})),
    ),
    measure=_measure,
    main="rate",
    shown=("rate", "cpu_rate", "server_us", "producer_us", "commands", "reads", "bytes", "others"),
    sliced=True,
)
