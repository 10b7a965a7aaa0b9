"""How punctual delayed jobs are on an idle worker: many of them due in one millisecond, or one after the other.

A job's lateness is the start of its handler less the moment that it was due; the first to begin is compared with the first
due, the second with the second, and so on. On the wire that moment is the queue's own: whole milliseconds of the machine's
clock, read from its `delayed` set, so a correct queue is never early and no rounding hides in the figures. Of another side
it is taken to be the time of the order to add, a millisecond earlier for its rounding, and the delay: no correct queue looks
early then either, but later than it is, by no more than `slack_ms`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks.measure import percentiles_ms
from benchmarks.program import Program, ProgramFailed
from benchmarks.scenario import Figures, Scenario, Variant, keeping
from benchmarks.side import Side
from benchmarks.stand import Stand
from benchmarks.steps import fill, tally

_FAR_MS = 24 * 3_600_000
_SOON_MS = 1_000
_SLOWEST_MS = 4
"""No side takes longer to add a job."""
_RATE = 50

Orders = list[tuple[int, int, int]]
"""Of each order to add: when it was given and when it was carried out, monotonic us, and the delay of its job, ms."""


def _measure(stand: Stand, side: Side, variant: Variant, jobs: int) -> Figures:
    far = int(variant.settings["far"] or 0)
    add = _ADD[str(variant.settings["due"])]
    ready = {"do": "ready", "concurrency": variant.settings["concurrency"], "keep": None}
    with stand.producer(side) as producer, stand.worker(side) as worker:
        fill(side, producer, "warm", jobs)
        worker.ask("ready", queues=["warm"], **ready)
        worker.ask("handled", do="begin", jobs=jobs)
        worker.ask("ended", do="end")
        if far:
            fill(side, producer, "bench", far, options={"delay": _FAR_MS})
        worker.ask("ready", queues=["bench"], **ready)
        worker.tell(do="begin", jobs=jobs)
        mark = _now_us()
        orders = add(side, producer, jobs, {"due": mark})
        earliest = _by_the_orders(orders, jobs)
        dues = _on_the_wire(stand, jobs) if side.on_the_wire else earliest
        if min(earliest) < _now_us():
            raise ProgramFailed(f"{side.name}: the first job was due before the last was added")
        meter = stand.meter(workers=[worker])
        worker.hear("handled")
        stand.wait_until_idle(side, "bench")
        spent = meter.read(jobs)
        ended = worker.ask("ended", do="end")
    began = sorted(mark + delay for delay in ended["delays"][:jobs])
    late = [start - due for start, due in zip(began, sorted(dues), strict=True)]
    return {
        **{name: spent[name] for name in ("server_us", "worker_us", "commands", "reads", "bytes", "others")},
        **percentiles_ms(late),
        "min_ms": min(late) / 1000,
        "slack_ms": 0.0 if side.on_the_wire else max(done - given for given, done, _ in orders) / 1000 + 1,
        **tally(stand, side, ["bench"], tries=jobs, jobs=jobs, handled=ended["handled"]),
    }


def _together(side: Side, producer: Program, jobs: int, data: dict[str, int]) -> Orders:
    """All by one order. Where one call carries them all, they are due in one millisecond."""
    delay = _SOON_MS + jobs * _SLOWEST_MS
    given = _now_us()
    fill(side, producer, "bench", jobs, data=data, options={"delay": delay})
    return [(given, _now_us(), delay)]


def _apart(side: Side, producer: Program, jobs: int, data: dict[str, int]) -> Orders:
    """An order each, `_RATE` a second, and the first is due when all have been added."""
    delay = _SOON_MS + jobs * 2_000 // _RATE
    orders = []
    began = time.monotonic()
    for number in range(jobs):
        time.sleep(max(0.0, began + number / _RATE - time.monotonic()))
        given = _now_us()
        producer.ask("seconds", do="add", queue="bench", jobs=1, way="one", data=data, options={"delay": delay})
        orders.append((given, _now_us(), delay))
    return orders


_ADD: dict[str, Callable[[Side, Program, int, dict[str, int]], Orders]] = {"together": _together, "apart": _apart}


def _by_the_orders(orders: Orders, jobs: int) -> list[int]:
    """When the jobs are due at the earliest, monotonic us."""
    dues = [given - 1_000 + delay * 1_000 for given, _, delay in orders]
    return dues * (jobs // len(dues))


def _on_the_wire(stand: Stand, jobs: int) -> list[int]:
    """When the next `jobs` delayed jobs are due, monotonic us. A score is that time in ms, times 4,096, and a number."""
    scores = [score for _, score in stand.redis.zrange("bull:bench:delayed", 0, jobs - 1, withscores=True)]
    ahead = _wall_clock_ahead()
    return [int(score) // 4096 * 1000 - ahead for score in scores]


def _wall_clock_ahead() -> int:
    """What the wall clock shows beyond the monotonic one, us: of ten readings the one that took the least time."""
    readings = []
    for _ in range(10):
        before, wall, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        readings.append((after - before, wall - (before + after) // 2))
    return min(readings)[1] // 1000


def _now_us() -> int:
    return time.monotonic_ns() // 1000


DELAYED = Scenario(
    "delayed",
    f"start of the handler less the moment that a delayed job was due: together in one ms, or apart, {_RATE} a second; far: jobs "
    "delayed by a day that lie there",
    variants=(
        Variant(
            {"due": "together", "far": 100_000, "concurrency": 100},
            jobs=1_000,
            needs=frozenset({"work", "delay", keeping(None)}),
        ),
        Variant(
            {"due": "apart", "far": 0, "concurrency": 10}, jobs=200, needs=frozenset({"work", "delay", keeping(None)})
        ),
    ),
    measure=_measure,
    main="p99_ms",
    shown=(
        *("min_ms", "p50_ms", "p99_ms", "max_ms", "slack_ms"),
        *("server_us", "worker_us", "commands", "reads", "others"),
    ),
    has_limit=False,
    units={"min_ms": "min, ms", "slack_ms": "slack, ms"},
)
