"""How soon the jobs of a killed worker are done by another, and how many of them are run again.

The first worker begins alone and takes what it will, then the second; once nothing waits any more the first is killed.
Every job sleeps for longer than all that lasts, so the dead worker had finished none: the other must handle every job,
those that the first had in hand for the second time. Otherwise the run is an error. `recovered_s` has the sleep in it once.
"""

from __future__ import annotations

import time

from benchmarks.program import Program, ProgramFailed
from benchmarks.scenario import Figures, Scenario, Variant, keeping
from benchmarks.side import Side
from benchmarks.stand import Stand
from benchmarks.steps import fill, tally

_CONCURRENCY = 10


def _measure(stand: Stand, side: Side, variant: Variant, jobs: int) -> Figures:
    lock, sweep, sleep = variant.settings["lock"], variant.settings["sweep"], int(variant.settings["sleep"] or 0)
    order = {"queues": ["bench"], "concurrency": _CONCURRENCY, "keep": None}
    if lock != "default":
        order |= {"lock": lock, "sweep": sweep}
    with stand.producer(side) as producer, stand.worker(side) as victim, stand.worker(side) as survivor:
        fill(side, producer, "bench", jobs, data={"sleep": sleep * 1000})
        for worker in (victim, survivor):
            worker.ask("ready", do="ready", **order)
        began = time.monotonic()
        victim.tell(do="begin", jobs=jobs)
        in_hand = jobs - _until_taken(stand, side, producer, jobs - _CONCURRENCY, began + sleep / 1000)
        survivor.tell(do="begin", jobs=jobs)
        _until_taken(stand, side, producer, jobs - 2 * _CONCURRENCY, began + sleep / 1000)
        victim.kill()
        killed = time.monotonic()
        if killed - began > 0.9 * sleep / 1000:
            raise ProgramFailed(f"{side.name}: jobs were over before the worker could be killed")
        survivor.hear("handled")
        stand.wait_until_idle(side, "bench")
        recovered = time.monotonic() - killed
        handled = survivor.ask("ended", do="end")["handled"]
        counts = tally(stand, side, ["bench"], tries=jobs, jobs=jobs, handled=handled)
    return {"recovered_s": recovered, "in_hand": in_hand, **counts}


def _until_taken(stand: Stand, side: Side, producer: Program, left: int, ends: float) -> int:
    """Wait until no more than `left` jobs wait; how many do."""
    while (waiting := stand.waiting(side, "bench", producer)) > max(0, left):
        if time.monotonic() > ends:
            raise ProgramFailed(f"{side.name}: {waiting} jobs were not taken while the first ones ran")
        time.sleep(0.002)
    return waiting


RECOVERY = Scenario(
    "recovery",
    "seconds from the SIGKILL of one of two workers until the other has done all jobs; in ms: lock and sweep, how long a "
    "job is its worker's and how often those of dead ones are looked for, as far as a side can be told, and sleep, what every "
    "job takes",
    variants=tuple(
        Variant({"lock": lock, "sweep": sweep, "sleep": 2_000}, needs=frozenset({"work", "recover", keeping(None)}))
        for lock, sweep in (("default", "default"), (2_000, 1_000))
    ),
    measure=_measure,
    main="recovered_s",
    shown=("recovered_s", "in_hand", "lost", "twice"),
    jobs=2 * _CONCURRENCY,
    has_limit=False,
    units={"recovered_s": "recovered, s", "in_hand": "in hand at the kill, so run again"},
)
