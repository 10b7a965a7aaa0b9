"""Runs the sides of a scenario in turn, so that what is compared was measured side by side.

Scenarios of throughput run in slices: ours and one other side alternate (ours, theirs, theirs, ours, ...), each with the
same two processes from slice to slice, so that no just-in-time compiler is measured cold and no disturbance of the machine
meets one side only. Other scenarios run each side once a repeat, in processes of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

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
_WARM = 3.0  # seconds that the programs of a side work before their first slice counts
_STEPS_TO_WARM = 3  # runs in about that time; for the progress bar
_LEAST = 100  # jobs of a slice

REPEATS, SLICES = 3, 10
"""Runs of each side where nothing else is asked for, by the kind of scenario."""

DISTURBED = 0.1
"""Processors used by others, above which a run says more about them."""
STOLEN = 0.05
"""Processors taken by the host, likewise."""
SLOWED = 1.25
"""Times the best of a fixed loop, likewise."""


class Run(Struct, frozen=True):
    variant: str
    side: str
    repeat: int
    """Runs of the same repeat are a pair: they followed one another."""
    jobs: int
    figures: Figures
    counted: bool = True
    """False: a side of this repeat was disturbed and all of them were run again."""
    against: str = ""
    """The other side of the pair, of a slice; empty where all sides took turns."""

    @property
    def disturbed(self) -> bool:
        return bool(self.disturbances)

    @property
    def disturbances(self) -> list[str]:
        """Figures that say what else the machine did meanwhile: others, steal, slowdown."""
        limits = {"others": DISTURBED, "steal": STOLEN, "slowdown": SLOWED}
        return [name for name, limit in limits.items() if self.figures.get(name, 0.0) > limit]


class Failure(Struct, frozen=True):
    """A rival whose program ended or fell silent. None of its runs of that variant is shown."""

    variant: str
    side: str
    why: str


def able(side: Side, variant: Variant) -> bool:
    return variant.needs <= side.can


class Rounds:
    """The runs of one scenario.

    `seconds` is the length of a slice, where the scenario runs in slices. With `calm`, a repeat in which a side was
    disturbed does not count and is run again, with all sides. What is dropped depends on what others did, never on what a
    side came to.
    """

    def __init__(
        self,
        scenario: Scenario,
        stand: Stand,
        sides: Sequence[Side],
        repeats: int | None,
        jobs: int | None,
        *,
        calm: bool,
        seconds: float = 1.0,
    ) -> None:
        self._scenario = scenario
        self._stand = stand
        self._sides = sides
        self._repeats = repeats or (SLICES if scenario.sliced else REPEATS)
        self._jobs = jobs
        self._calm = calm
        self._seconds = seconds
        self.runs: list[Run] = []
        self.failures: list[Failure] = []

    def steps(self, variants: Sequence[Variant]) -> int:
        """Runs to come, trials among them, if all goes well."""
        return sum(map(self._steps, variants))

    def _steps(self, variant: Variant) -> int:
        if not self._scenario.sliced:
            return len(self._able(variant)) * (self._repeats + (self._fixed(variant) is None))
        trials = _STEPS_TO_WARM if self._fixed(variant) is None else 0
        return sum(len(pair) * (self._repeats + trials) for pair in self._pairs(variant))

    def run(self, variants: Sequence[Variant], progress: Progress) -> None:
        for variant in variants:
            if self._scenario.sliced:
                for pair in self._pairs(variant):
                    self._run_slices(variant, pair, progress)
            else:
                self._run(variant, progress)

    def _able(self, variant: Variant) -> list[Side]:
        failed = {(failure.variant, failure.side) for failure in self.failures}
        return [side for side in self._sides if able(side, variant) and (variant.name, side.name) not in failed]

    def _pairs(self, variant: Variant) -> list[list[Side]]:
        """Ours with each other side; a side on its own where there is nothing to pair it with."""
        sides = self._able(variant)
        ours, others = sides[:1], sides[1:]
        return [[*ours, other] for other in others] or [ours]

    def _fixed(self, variant: Variant) -> int | None:
        return self._jobs or variant.jobs or self._scenario.jobs

    # --- slices -------------------------------------------------------------------------------------------------------

    def _run_slices(self, variant: Variant, pair: Sequence[Side], progress: Progress) -> None:
        with self._stand.keeping():
            sizes = {side.name: self._warm_up(variant, side, progress) for side in pair}

            def once(repeat: int, which: str) -> Iterator[Run]:
                for side in pair if repeat % 2 == 0 else reversed(pair):
                    against = "".join(other.name for other in pair if other is not side)
                    figures = self._measure(variant, side, sizes[side.name], which, progress)
                    if figures is not None:
                        yield Run(variant.name, side.name, repeat, sizes[side.name], figures, against=against)

            if not self._failed(variant, pair):
                self._repeat(variant, pair, "slice", once, progress)

    def _warm_up(self, variant: Variant, side: Side, progress: Progress) -> int:
        """Jobs of a slice: as many as the side gets done in its time, once its programs are warm."""
        fixed = self._fixed(variant)
        if fixed is not None:
            return fixed
        jobs, warm, rate = variant.trial, 0.0, 0.0
        while warm < _WARM:
            figures = self._measure(variant, side, jobs, "warming", progress)
            if figures is None:
                break
            rate = figures["rate"]
            warm += figures["seconds"]
            jobs = max(_LEAST, int(rate))
        return max(_LEAST, int(rate * self._seconds))

    # --- all sides, in turn -------------------------------------------------------------------------------------------

    def _run(self, variant: Variant, progress: Progress) -> None:
        size = self._fixed(variant) or self._size(variant, progress)

        def once(repeat: int, which: str) -> Iterator[Run]:
            """One run of each side. Whoever goes first in one repeat goes later in the next."""
            sides = self._able(variant)
            turn = repeat % len(sides)
            for side in (*sides[turn:], *sides[:turn]):
                figures = self._measure(variant, side, size, f"{size:,} jobs, {which}", progress)
                if figures is not None:
                    yield Run(variant.name, side.name, repeat, size, figures)

        self._repeat(variant, self._able(variant), "run", once, progress)

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

    # --- both ---------------------------------------------------------------------------------------------------------

    def _repeat(
        self,
        variant: Variant,
        sides: Sequence[Side],
        word: str,
        once: Callable[[int, str], Iterator[Run]],
        progress: Progress,
    ) -> None:
        done = 0
        for repeat in range(self._repeats * (_TRIES if self._calm else 1)):
            if done == self._repeats or not self._able(variant):
                return
            runs = list(once(repeat, f"{word} {done + 1} of {self._repeats}"))
            counted = not (self._calm and any(run.disturbed for run in runs))
            done += counted
            self.runs += [replace(run, counted=counted) for run in runs]
            self._drop_failed(variant)
            if self._scenario.sliced and self._failed(variant, sides):
                return
            if not counted:
                progress.more(len(runs))
        if done < self._repeats:
            raise SystemExit(
                f"{variant.name}: only {done} of {self._repeats} repeats were calm; stop what else runs here"
            )

    def _measure(self, variant: Variant, side: Side, jobs: int, which: str, progress: Progress) -> Figures | None:
        """One run, or None if a rival failed: the others must not be lost with it."""
        progress.doing(f"{self._scenario.name} {variant.name}: {side.name}, {which}")
        self._stand.empty()
        try:
            before = self._stand.slowdown()
            figures = self._scenario.measure(self._stand, side, variant, jobs)
            # A scenario that fills the server with scripts of its own has counted those that it is about.
            return {"slow": self._stand.slow(), **figures, "slowdown": max(before, self._stand.slowdown())}
        except ProgramFailed as error:
            if side.name in (OURS, LIMIT):
                raise
            self.failures.append(Failure(variant.name, side.name, str(error)))
            progress.doing(f"{side.name} failed: {error}")
            return None

    def _failed(self, variant: Variant, sides: Sequence[Side]) -> bool:
        return any(
            (failure.variant, failure.side) == (variant.name, side.name) for failure in self.failures for side in sides
        )

    def _drop_failed(self, variant: Variant) -> None:
        failed = {failure.side for failure in self.failures if failure.variant == variant.name}
        self.runs = [run for run in self.runs if run.variant != variant.name or not {run.side, run.against} & failed]
