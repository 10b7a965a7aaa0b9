"""What several scenarios do alike: fill a queue, and see that no job of it was lost or run twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.program import Program
from benchmarks.scenario import Figures, quickest_way
from benchmarks.side import Side
from benchmarks.stand import Stand


def fill(side: Side, producer: Program, queue: str, jobs: int, **order: Any) -> float:
    """Add jobs in the quickest way that the side has; the seconds it took."""
    seconds: float = producer.ask("seconds", do="add", queue=queue, jobs=jobs, way=quickest_way(side), **order)
    return seconds


def tally(stand: Stand, side: Side, queues: Sequence[str], *, tries: int, jobs: int, handled: int) -> Figures:
    """`lost` and `twice` of a run whose results are all kept: `jobs` should have been handled in `tries`.

    On the wire nothing may be lost or doubled, and what lies there is looked at too: anything else is an error.
    """
    if side.on_the_wire:
        waiting = sum(stand.redis.llen(f"bull:{queue}:wait") for queue in queues)
        left = (handled, waiting, sum(map(stand.completed, queues)))
        if left != (tries, 0, jobs):
            raise RuntimeError(f"{side.name}: handled, waiting, completed are {left} and should be {(tries, 0, jobs)}")
    return {"lost": max(0, tries - handled), "twice": max(0, handled - tries)}
