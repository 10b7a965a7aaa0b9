"""Runs the sides of a scenario in turn, so that what is compared was measured side by side."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from msgspec import Struct

from benchmarks.scenario import Figures, Scenario, Variant
from benchmarks.side import Side
from benchmarks.stand import Stand

_AIM = 1.3  # seconds that the fastest side should take: a run under a second tells of its start more than of its pace
_BOUND = 12.0  # seconds that the slowest side may take


class Run(Struct, frozen=True):
    variant: str
    side: str
    repeat: int
    """Runs of the same repeat are a pair: they followed one another."""
    jobs: int
    figures: Figures


def run_all(
    scenario: Scenario, stand: Stand, sides: Sequence[Side], variants: Sequence[Variant], repeats: int, jobs: int | None
) -> Iterator[Run]:
    for variant in variants:
        size = jobs or scenario.jobs or _size(scenario, stand, sides, variant)
        for repeat in range(repeats):
            # Whoever goes first in one repeat goes later in the next.
            turn = repeat % len(sides)
            for side in (*sides[turn:], *sides[:turn]):
                _tell(f"{scenario.name} {variant.name}: {side.name}, {size:,} jobs, {repeat + 1} of {repeats}")
                yield Run(variant.name, side.name, repeat, size, _measure(scenario, stand, side, variant, size))


def _size(scenario: Scenario, stand: Stand, sides: Sequence[Side], variant: Variant) -> int:
    """How many jobs all sides get, by a trial of each: one number, as a longer queue may cost more a job."""
    rates = []
    for side in sides:
        _tell(f"{scenario.name} {variant.name}: {side.name}, trial")
        rates.append(_measure(scenario, stand, side, variant, variant.trial)["rate"])
    return max(variant.trial, int(min(max(rates) * _AIM, min(rates) * _BOUND)))


def _measure(scenario: Scenario, stand: Stand, side: Side, variant: Variant, jobs: int) -> Figures:
    stand.empty()
    return scenario.measure(stand, side, variant, jobs)


def _tell(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
