"""What it means for one worker process to serve many queues: its pace, its memory, and what the fleet costs while idle."""

from __future__ import annotations

import time

from benchmarks.measure import cpu_seconds, memory_mb, peak_memory_mb
from benchmarks.program import Program
from benchmarks.scenario import Figures, Scenario, Variant, keeping
from benchmarks.side import Side
from benchmarks.stand import Stand
from benchmarks.steps import fill, tally

_WARM = 3_000
_CONCURRENCY = 5
"""Of each queue."""


def _measure(stand: Stand, side: Side, variant: Variant, jobs: int) -> Figures:
    count, idle = int(variant.settings["queues"] or 1), int(variant.settings["idle"] or 1)
    with stand.producer(side) as producer, stand.worker(side) as worker:
        _work_off(stand, side, producer, worker, ["warm"], min(_WARM, jobs), 0)
        small = memory_mb(worker.pid)
        # One job a queue next: what it takes is the start of so many workers, which the timed run has in it as well.
        start, _ = _work_off(stand, side, producer, worker, [f"start-{n}" for n in range(count)], count, 0)
        timed, fleet = _work_off(stand, side, producer, worker, [f"bench-{n}" for n in range(count)], jobs, idle)
        return {
            **timed,
            **fleet,
            "start_s": start["seconds"],
            "worker_mb": peak_memory_mb(worker.pid),
            "queue_kb": (fleet["idle_mb"] - small) / count * 1000,
        }


def _work_off(
    stand: Stand, side: Side, producer: Program, worker: Program, queues: list[str], jobs: int, idle: int
) -> tuple[Figures, Figures]:
    """What it took, and what it costs to serve these queues when they are empty."""
    for number, queue in enumerate(queues):
        share = jobs // len(queues) + (number < jobs % len(queues))
        if share:
            fill(side, producer, queue, share)
    worker.ask("ready", do="ready", queues=queues, concurrency=_CONCURRENCY, keep=None)
    meter = stand.meter(workers=[worker])
    worker.ask("handled", do="begin", jobs=jobs)
    for queue in queues:
        stand.wait_until_idle(side, queue)
    figures = meter.read(jobs)
    fleet = _idle(stand, worker, len(queues), idle) if idle else {}
    handled = worker.ask("ended", do="end")["handled"]
    return {**figures, **tally(stand, side, queues, tries=jobs, jobs=jobs, handled=handled)}, fleet


def _idle(stand: Stand, worker: Program, queues: int, seconds: int) -> Figures:
    links = int(stand.redis.info("clients")["connected_clients"])
    before, cpu, began = stand.counters(), cpu_seconds(worker.pid), time.monotonic()
    time.sleep(seconds)
    after, used, lasted = stand.counters(), cpu_seconds(worker.pid) - cpu, time.monotonic() - began
    return {
        "idle_links": links / queues,
        "idle_mb": memory_mb(worker.pid),
        "idle_commands": (after.commands - before.commands) / lasted / queues,
        "idle_server_ms": (after.cpu - before.cpu) / lasted * 1000,
        "idle_worker_ms": used / lasted * 1000,
    }


MANY_QUEUES = Scenario(
    "many-queues",
    "one worker process for many queues: jobs a second over all of them, its start in it; then idle for some seconds",
    variants=tuple(
        Variant({"queues": queues, "idle": 2}, needs=frozenset({"queues", keeping(None)})) for queues in (200, 1_000)
    ),
    measure=_measure,
    main="rate",
    shown=(
        *("rate", "cpu_rate", "start_s", "server_us", "worker_us", "commands", "reads", "worker_mb"),
        *("queue_kb", "idle_links", "idle_commands", "idle_server_ms", "idle_worker_ms", "others"),
    ),
    jobs=40_000,
    has_limit=False,
    units={
        "start_s": "start and a job a queue, s",
        "queue_kb": "worker memory, kB a queue",
        "idle_links": "connections a queue",
        "idle_commands": "idle, commands/s a queue",
        "idle_server_ms": "idle, server CPU, ms/s",
        "idle_worker_ms": "idle, worker CPU, ms/s",
    },
)
