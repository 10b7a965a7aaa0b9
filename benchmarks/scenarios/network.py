"""What is left of the pace with a millisecond of network each way: drain, enqueue and latency through a proxy."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.program import Program
from benchmarks.scenario import Figures, Scenario, Variant, keeping
from benchmarks.scenarios.drain import DRAIN
from benchmarks.scenarios.enqueue import ENQUEUE
from benchmarks.scenarios.latency import LATENCY
from benchmarks.side import Side
from benchmarks.stand import Stand, client_cores

_EACH_WAY = 1_000  # us
_WHATS = {scenario.name: scenario for scenario in (DRAIN, ENQUEUE, LATENCY)}


def _measure(stand: Stand, side: Side, variant: Variant, jobs: int) -> Figures:
    with _far(stand) as far:
        return _WHATS[str(variant.settings["what"])].measure(far, side, variant, jobs)


@contextmanager
def _far(stand: Stand) -> Iterator[Stand]:
    """The same stand, its server further away from the programs."""
    command = (sys.executable, "-m", "benchmarks.proxy", stand.url, str(_EACH_WAY))
    with Program(command, env={}, cores=client_cores(stand.place)) as proxy:
        yield stand.through(proxy.hear("ready")["url"], proxy)


NETWORK = Scenario(
    "network",
    "drain, enqueue and latency with 1 ms between server and programs, each way",
    variants=(
        Variant(
            {"what": "drain", "concurrency": 100, "keep": None, "payload": 100},
            trial=3_000,
            needs=frozenset({keeping(None)}),
        ),
        Variant({"what": "enqueue", "way": "one"}, trial=500, needs=frozenset({"one"})),
        Variant({"what": "enqueue", "way": "at once"}, trial=5_000, needs=frozenset({"at once"})),
        Variant(
            {"what": "latency", "load": "idle", "concurrency": 100},
            jobs=300,
            needs=frozenset({"pace", "work", keeping(None)}),
        ),
    ),
    measure=_measure,
    main="rate",
    shown=(
        *("rate", "cpu_rate", "p50_ms", "p99_ms", "server_us", "worker_us", "producer_us"),
        *("commands", "reads", "bytes", "others"),
    ),
    has_limit=False,
)
