"""Runs the sides of a scenario in turn, so that what is compared was measured side by side."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from benchmarks.scenario import Figures, Scenario, Variant
from benchmarks.side import Side
from benchmarks.stand import Stand

_AIM = 1.3  # seconds that the fastest side should take: a run under a second tells of its start more than of its pace
_TRIES = 4  # times the repeats asked for, before the harness gives up on a machine that is never calm
_BOUND = 12.0  # seconds that the slowest side may take

DISTURBED = 0.1
"""Processors used by others, above which a run says more about them."""


class Run(Struct, frozen=True):
    variant: str
    side: str
    repeat: int
    """Runs of the same repeat are a pair: they followed one another."""
    jobs: int
    figures: Figures
    counted: bool = True
    """False: a side of this repeat was disturbed and all of them were run again."""

    @property
    def disturbed(self) -> bool:
        return self.figures["others"] > DISTURBED


def run_all(
    scenario: Scenario,
    stand: Stand,
    sides: Sequence[Side],
    variants: Sequence[Variant],
    repeats: int,
    jobs: int | None,
    *,
    calm: bool,
) -> Iterator[Run]:
    """All runs. With `calm`, a repeat in which a side was disturbed does not count and is run again, with all sides.

    What is dropped depends on what others did, never on what a side came to.
    """
    for variant in variants:
        size = jobs or scenario.jobs or _size(scenario, stand, sides, variant)
        done = 0
        for repeat in range(repeats * (_TRIES if calm else 1)):
            if done == repeats:
                break
            _tell(f"{scenario.name} {variant.name}: {size:,} jobs, {done + 1} of {repeats}")
            runs = list(_once(scenario, stand, sides, variant, size, repeat))
            counted = not (calm and any(run.disturbed for run in runs))
            done += counted
            yield from (replace(run, counted=counted) for run in runs)
        if done < repeats:
            raise SystemExit(f"{variant.name}: only {done} of {repeats} repeats were calm; stop what else runs here")


def _once(
    scenario: Scenario, stand: Stand, sides: Sequence[Side], variant: Variant, size: int, repeat: int
) -> Iterator[Run]:
    """One run of each side. Whoever goes first in one repeat goes later in the next."""
    turn = repeat % len(sides)
    for side in (*sides[turn:], *sides[:turn]):
        _tell(f"  {side.name}")
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
