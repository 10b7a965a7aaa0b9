"""What a scenario is: its variants, and how one run of one side is measured. Knows neither repeats nor reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from benchmarks.side import Side
from benchmarks.stand import Stand

Figures = dict[str, float]
"""Name -> value of one run. UNITS in report.py explains the names."""

Setting = str | int | None


class Variant(Struct, frozen=True):
    """One way to run a scenario."""

    settings: dict[str, Setting]
    trial: int = 0
    """Jobs of the run that finds out how many jobs a timed run takes."""

    @property
    def name(self) -> str:
        return ", ".join(f"{name}={'all' if value is None else value}" for name, value in self.settings.items())


class Scenario(Struct, frozen=True):
    name: str
    summary: str
    variants: Sequence[Variant]
    measure: Callable[[Stand, Side, Variant, int], Figures]
    main: str
    """The figure that the scenario is about."""
    shown: Sequence[str]
    """Figures of the table, in its order; the JSON has all."""
    jobs: int | None = None
    """Jobs of every run; None: as many as take long enough to be timed."""
    has_limit: bool = True
    """The bare loop has an answer to it."""
