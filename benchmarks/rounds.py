"""Runs the sides of a scenario in turn, so that what is compared was measured side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from benchmarks.program import ProgramFailed
from benchmarks.progress import Progress
from benchmarks.scenario import Figures, Scenario, Variant
from benchmarks.side import LIMIT, OURS, Side
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
        return self.figures.get("others", 0.0) > DISTURBED


class Failure(Struct, frozen=True):
    """A rival whose program ended or fell silent. None of its runs of that variant is shown."""

    variant: str
    side: str
    why: str


def able(side: Side, variant: Variant) -> bool:
    return variant.needs <= side.can


class Rounds:
    """The runs of one scenario.

    With `calm`, a repeat in which a side was disturbed does not count and is run again, with all sides. What is dropped
    depends on what others did, never on what a side came to.
    """

    def __init__(
        self, scenario: Scenario, stand: Stand, sides: Sequence[Side], repeats: int, jobs: int | None, *, calm: bool
    ) -> None:
        self._scenario = scenario
        self._stand = stand
        self._sides = sides
        self._repeats = repeats
        self._jobs = jobs
        self._calm = calm
        self.runs: list[Run] = []
        self.failures: list[Failure] = []

    def steps(self, variants: Sequence[Variant]) -> int:
        """Runs to come, trials among them, if all goes well."""
        return sum(len(self._able(variant)) * (self._repeats + (self._fixed(variant) is None)) for variant in variants)

    def run(self, variants: Sequence[Variant], progress: Progress) -> None:
        for variant in variants:
            self._run(variant, progress)

    def _able(self, variant: Variant) -> list[Side]:
        failed = {(failure.variant, failure.side) for failure in self.failures}
        return [side for side in self._sides if able(side, variant) and (variant.name, side.name) not in failed]

    def _fixed(self, variant: Variant) -> int | None:
        return self._jobs or variant.jobs or self._scenario.jobs

    def _run(self, variant: Variant, progress: Progress) -> None:
        size = self._fixed(variant) or self._size(variant, progress)
        done = 0
        for repeat in range(self._repeats * (_TRIES if self._calm else 1)):
            if done == self._repeats or not self._able(variant):
                return
            runs = list(self._once(variant, size, repeat, f"{size:,} jobs, {done + 1} of {self._repeats}", progress))
            counted = not (self._calm and any(run.disturbed for run in runs))
            done += counted
            self.runs += [replace(run, counted=counted) for run in runs]
            self._drop_failed(variant)
            if not counted:
                progress.more(len(runs))
        if done < self._repeats:
            raise SystemExit(
                f"{variant.name}: only {done} of {self._repeats} repeats were calm; stop what else runs here"
            )

    def _once(self, variant: Variant, size: int, repeat: int, which: str, progress: Progress) -> Iterator[Run]:
        """One run of each side. Whoever goes first in one repeat goes later in the next."""
        sides = self._able(variant)
        turn = repeat % len(sides)
        for side in (*sides[turn:], *sides[:turn]):
            figures = self._measure(variant, side, size, which, progress)
            if figures is not None:
                yield Run(variant.name, side.name, repeat, size, figures)

    def _size(self, variant: Variant, progress: Progress) -> int:
        """How many jobs all sides get, by a trial of each: one number, as a longer queue may cost more a job."""
        rates = []
        for side in self._able(variant):
            figures = self._measure(variant, side, variant.trial, "trial", progress)
            if figures is not None:
                rates.append(figures["rate"])
        if not rates:
            return variant.trial
        return max(variant.trial, int(min(max(rates) * _AIM, min(rates) * _BOUND)))

    def _measure(self, variant: Variant, side: Side, jobs: int, which: str, progress: Progress) -> Figures | None:
        """One run, or None if a rival failed: the others must not be lost with it."""
        progress.doing(f"{self._scenario.name} {variant.name}: {side.name}, {which}")
        self._stand.empty()
        try:
            figures = self._scenario.measure(self._stand, side, variant, jobs)
            # A scenario that fills the server with scripts of its own has counted those that it is about.
            return {"slow": self._stand.slow(), **figures}
        except ProgramFailed as error:
            if side.name in (OURS, LIMIT):
                raise
            self.failures.append(Failure(variant.name, side.name, str(error)))
            progress.doing(f"{side.name} failed: {error}")
            return None

    def _drop_failed(self, variant: Variant) -> None:
        failed = {failure.side for failure in self.failures if failure.variant == variant.name}
        self.runs = [run for run in self.runs if run.variant != variant.name or run.side not in failed]
