"""How soon a worker begins a job: start of the add call to start of the handler; idle, and at half of what it can do.

What a side can do is found in the same run, just before: its producer adds without waiting for a pace, up to 100 calls under
way, while its worker works, and the time until the last is handled gives the rate; the second time counts, when both are
warm. Half of that is then added evenly. So each side bears half of its own load, not of another's; `offered` says how much
that was.
"""

from __future__ import annotations

import time

from benchmarks.measure import percentile, percentiles_ms
from benchmarks.program import Program
from benchmarks.scenario import Figures, Scenario, Variant
from benchmarks.side import Side, Skill
from benchmarks.stand import Stand

_IDLE_RATE = 50
_WARM = 50
_TRIAL = 2_000
_UNPACED = 1e9  # jobs a second: always late, so never waiting


def _measure(stand: Stand, side: Side, variant: Variant, jobs: int) -> Figures:
    with stand.producer(side) as producer, stand.worker(side) as worker:
        rate = _half_of_its_best(variant, producer, worker) if variant.settings["load"] == "half" else _IDLE_RATE
        _make_ready(worker, variant, "bench")
        worker.tell(do="begin", jobs=_WARM + jobs)
        producer.ask("calls", do="pace", queue="bench", jobs=_WARM, rate=rate)
        meter = stand.meter(workers=[worker], producers=[producer])
        calls = producer.ask("calls", do="pace", queue="bench", jobs=jobs, rate=rate)
        worker.hear("handled")
        figures = meter.read(jobs)
        delays = worker.ask("ended", do="end")["delays"][_WARM:]
    return {
        **figures,
        **percentiles_ms(delays),
        "offered": rate,
        "call_p50_ms": percentile(calls, 0.5) / 1000,
        "call_p99_ms": percentile(calls, 0.99) / 1000,
    }


def _half_of_its_best(variant: Variant, producer: Program, worker: Program) -> float:
    _unpaced(variant, producer, worker, "warm")
    return _unpaced(variant, producer, worker, "trial") / 2


def _unpaced(variant: Variant, producer: Program, worker: Program, queue: str) -> float:
    """Jobs a second that go through."""
    _make_ready(worker, variant, queue)
    worker.tell(do="begin", jobs=_TRIAL)
    began = time.monotonic()
    producer.ask("calls", do="pace", queue=queue, jobs=_TRIAL, rate=_UNPACED)
    worker.hear("handled")
    seconds = time.monotonic() - began
    worker.ask("ended", do="end")
    return _TRIAL / seconds


def _make_ready(worker: Program, variant: Variant, queue: str) -> None:
    concurrency = variant.settings["concurrency"]
    worker.ask("ready", do="ready", queues=[queue], concurrency=concurrency, keep=None)


_NEEDS: frozenset[Skill] = frozenset({"work", "pace", "keep all"})

LATENCY = Scenario(
    "latency",
    f"start of the add call to start of the handler; idle ({_IDLE_RATE} jobs a second), and at half of a side's own best",
    variants=(
        Variant({"load": "idle", "concurrency": 10}, needs=_NEEDS, jobs=500),
        Variant({"load": "half", "concurrency": 10}, needs=_NEEDS, jobs=3_000),
    ),
    measure=_measure,
    main="p50_ms",
    shown=(
        *("p50_ms", "p95_ms", "p99_ms", "p99.9_ms", "max_ms", "call_p50_ms", "offered"),
        *("server_us", "worker_us", "producer_us", "commands", "reads", "others"),
    ),
    has_limit=False,
)
