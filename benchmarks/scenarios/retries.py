"""What a failed try costs: jobs that fail once or twice, without a pause between, and then succeed.

Its `jobs` are tries: 3,000 are 1,000 jobs that fail twice. So runs of all variants are equally long.
"""

from __future__ import annotations

from benchmarks.program import Program
from benchmarks.scenario import Figures, Scenario, Variant, keeping
from benchmarks.side import Side
from benchmarks.stand import Stand
from benchmarks.steps import fill, tally

_ATTEMPTS = 3
_WARM = 3_000


def _measure(stand: Stand, side: Side, variant: Variant, jobs: int) -> Figures:
    fails = int(variant.settings["fails"] or 0)
    warm, timed = (max(1, tries // (fails + 1)) for tries in (min(_WARM, jobs), jobs))
    with stand.producer(side) as producer, stand.worker(side) as worker:
        failing = {"data": {"fail": fails}, "options": {"attempts": _ATTEMPTS}}
        if not worker.warm:
            fill(side, producer, "warm", warm, **failing)
            _work_off(stand, side, variant, worker, "warm", warm, fails)
            worker.warm = True
        fill(side, producer, "bench", timed, **failing)
        return _work_off(stand, side, variant, worker, "bench", timed, fails)


def _work_off(
    stand: Stand, side: Side, variant: Variant, worker: Program, queue: str, jobs: int, fails: int
) -> Figures:
    concurrency, tries = variant.settings["concurrency"], jobs * (fails + 1)
    worker.ask("ready", do="ready", queues=[queue], concurrency=concurrency, keep=None)
    meter = stand.meter(workers=[worker])
    worker.ask("handled", do="begin", jobs=tries)
    stand.wait_until_idle(side, queue)
    figures = meter.read(tries)
    handled = worker.ask("ended", do="end")["handled"]
    return {**figures, **tally(stand, side, [queue], tries=tries, jobs=jobs, handled=handled)}


RETRIES = Scenario(
    "retries",
    f"tries a second of jobs that fail once or twice and then succeed, {_ATTEMPTS} attempts, no pause; all counts are of tries",
    variants=tuple(
        Variant({"fails": fails, "concurrency": 100}, trial=6_000, needs=frozenset({"work", "retry", keeping(None)}))
        for fails in (1, 2)
    ),
    measure=_measure,
    main="rate",
    shown=("rate", "cpu_rate", "server_us", "worker_us", "commands", "reads", "bytes", "others"),
    has_limit=False,
    sliced=True,
)
