"""How soon an idle worker begins a job: start of the add call to start of the handler, 50 jobs a second."""

from __future__ import annotations

from benchmarks.measure import Watch, cpu_seconds, percentile
from benchmarks.scenario import Figures, Scenario, Variant
from benchmarks.side import Side
from benchmarks.stand import Stand

_RATE = 50
_WARM = 50


def _measure(stand: Stand, side: Side, variant: Variant, jobs: int) -> Figures:
    with stand.producer(side) as producer, stand.worker(side) as worker:
        worker.ask("ready", do="ready", queue="bench", concurrency=variant.settings["concurrency"], keep=None)
        worker.tell(do="begin", jobs=_WARM + jobs)
        producer.ask("calls", do="pace", queue="bench", jobs=_WARM, rate=_RATE)
        before, cpu = stand.counters(), cpu_seconds(worker.pid)
        watch = Watch(stand.server_pid, worker.pid, producer.pid)
        calls = producer.ask("calls", do="pace", queue="bench", jobs=jobs, rate=_RATE)
        worker.hear("handled")
        others = watch.others()
        worker_cpu = cpu_seconds(worker.pid) - cpu
        figures = stand.counters().per_job(before, jobs)
        delays = worker.ask("ended", do="end")["delays"][_WARM:]
    return {
        "p50_ms": percentile(delays, 0.5) / 1000,
        "p99_ms": percentile(delays, 0.99) / 1000,
        "max_ms": max(delays) / 1000,
        "call_p50_ms": percentile(calls, 0.5) / 1000,
        "others": others,
        "worker_us": worker_cpu / jobs * 1e6,
        **figures,
    }


LATENCY = Scenario(
    "latency",
    f"start of the add call to start of the handler, idle worker, {_RATE} jobs a second",
    variants=(Variant({"concurrency": 10}),),
    measure=_measure,
    main="p50_ms",
    shown=("p50_ms", "p99_ms", "max_ms", "call_p50_ms", "server_us", "worker_us", "commands", "reads", "others"),
    jobs=300,
    has_limit=False,
)
