"""What a scenario is: its variants, and how one run of one side is measured. Knows neither repeats nor reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from benchmarks.side import Side, Skill
from benchmarks.stand import Stand

Figures = dict[str, float]
"""Name -> value of one run. UNITS in report.py explains the names."""

Setting = str | int | None


class Variant(Struct, frozen=True):
    """One way to run a scenario."""

    settings: dict[str, Setting]
    trial: int = 0
    """Jobs of the run that finds out how many jobs a timed run takes."""
    needs: frozenset[Skill] = frozenset()
    """A side that lacks one of these is left out."""
    wishes: frozenset[Skill] = frozenset()
    """A side that lacks one of these runs as it is."""
    jobs: int | None = None
    """Jobs of every run of this variant, whatever the scenario says."""

    @property
    def name(self) -> str:
        return ", ".join(f"{name}={'all' if value is None else value}" for name, value in self.settings.items())


class Scenario(Struct, frozen=True):
    name: str
    summary: str
    variants: Sequence[Variant]
    measure: Callable[[Stand, Side, Variant, int], Figures]
    """One run of one side on an emptied server. Each run of a side and variant gives figures of the same names."""
    main: str
    """The figure that the scenario is about."""
    shown: Sequence[str]
    """Figures of the table, in its order; the JSON has all."""
    jobs: int | None = None
    """Jobs of every run; None: as many as take long enough to be timed, found by a trial that gives a `rate`."""
    has_limit: bool = True
    """The bare loop has an answer to it."""
    alone: bool = False
    """It asks about the engine only; no rival runs."""
    sliced: bool = False
    """It is about throughput: sides alternate in short slices, each in processes that stay. Every run has `seconds` and
    `rate`, and a run that finds its programs warm leaves out the warming."""
    units: Mapping[str, str] = {}
    """Titles of figures that only this scenario has."""


def keeping(keep: Setting) -> Skill:
    """What a side must be able to, if results are to be kept so."""
    match keep:
        case None:
            return "keep all"
        case 0:
            return "keep none"
        case _:
            return "keep some"


def quickest_way(side: Side) -> Skill:
    """How a side fills a queue where it does not matter how."""
    ways: tuple[Skill, ...] = ("bulk", "at once", "one")
    return next(way for way in ways if way in side.can)
