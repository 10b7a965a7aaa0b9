"""Draws a report as SVG: its main figure over each setting that is a number, and its latency distributions."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.report import Report, Row
from benchmarks.side import OURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PERCENTILE = re.compile(r"p([\d.]+)_ms")
_SIZE = (9.0, 5.5)  # inches
_MARKS = "osD^vP*X<>hd"


def require() -> None:
    """End the command with a sentence that helps, if nothing can be drawn here."""
    if find_spec("matplotlib") is None:
        raise SystemExit("plots are drawn by matplotlib, which is not installed: pip install 'corral[bench]'")


def draw(report: Report, folder: Path, stem: str) -> list[Path]:
    """Draw what the report has numbers for; the files that were written, named `stem`-..."""
    require()
    folder.mkdir(parents=True, exist_ok=True)
    return [*_over_settings(report, folder, stem), *_distributions(report, folder, stem)]


# --- the main figure over a setting: throughput by concurrency, cost by number waiting --------------------------------


def _over_settings(report: Report, folder: Path, stem: str) -> Iterator[Path]:
    for (setting, rest), rows in _series(report).items():
        title = f"{report.scenario} by {setting}" + (f" ({rest})" if rest else "")
        drawing = _Drawing(title, setting, report.units.get(report.main, report.main))
        places = {_place(report, row, setting) for row in rows}
        for side in _sides(rows):
            points = {_place(report, row, setting): row.figures[report.main] for row in rows if row.side == side}
            x = sorted(points)
            y = [points[place].median for place in x]
            below = [points[place].median - points[place].low for place in x]
            above = [points[place].high - points[place].median for place in x]
            drawing.axes.errorbar(
                x, y, yerr=[below, above], capsize=3, label=side, marker=drawing.mark(), linewidth=_width(side)
            )
        drawing.axes.set_xscale("log")
        drawing.axes.set_xticks(sorted(places), [f"{place:,}" for place in sorted(places)])
        drawing.axes.minorticks_off()
        drawing.axes.set_ylim(bottom=0)
        yield drawing.save(folder / f"{_slug(stem, 'by', setting, rest)}.svg")


def _series(report: Report) -> dict[tuple[str, str], list[Row]]:
    """Rows that differ in one numeric setting only, by that setting and what the others are; where it has two values."""
    series: dict[tuple[str, str], list[Row]] = {}
    for row in report.rows:
        settings = report.variants[row.variant]
        for setting, value in settings.items():
            # A place on a logarithmic axis; `keep` is a choice rather than a size.
            if isinstance(value, int) and value > 0 and setting != "keep" and report.main in row.figures:
                rest = ", ".join(part for part in row.variant.split(", ") if not part.startswith(f"{setting}="))
                series.setdefault((setting, rest), []).append(row)
    return {key: rows for key, rows in series.items() if len({_place(report, row, key[0]) for row in rows}) > 1}


def _place(report: Report, row: Row, setting: str) -> int:
    value = report.variants[row.variant][setting]
    assert isinstance(value, int)
    return value


# --- latency distributions --------------------------------------------------------------------------------------------


def _distributions(report: Report, folder: Path, stem: str) -> Iterator[Path]:
    for variant in report.variants:
        rows = [row for row in report.rows if row.variant == variant and _percentiles(row)]
        if not rows:
            continue
        drawing = _Drawing(f"{report.scenario} ({variant})", "percentile", "ms, median of the repeats")
        for row in rows:
            points = _percentiles(row)
            drawing.axes.plot(
                [_nines(percent) for percent in points],
                list(points.values()),
                label=row.side,
                marker=drawing.mark(),
                linewidth=_width(row.side),
            )
        ticks = list(_percentiles(rows[0]))
        drawing.axes.set_xticks([_nines(percent) for percent in ticks], [f"{percent:g}" for percent in ticks])
        drawing.axes.tick_params(axis="x", labelrotation=60)
        drawing.axes.set_yscale("log")
        yield drawing.save(folder / f"{_slug(stem, 'latency', variant)}.svg")


def _percentiles(row: Row) -> dict[float, float]:
    """Percent -> ms, in order. A logarithmic axis has no place for a job that began before its time, or at once."""
    found = {
        float(match[1]): row.figures[name].median for name in row.figures if (match := _PERCENTILE.fullmatch(name))
    }
    return {percent: found[percent] for percent in sorted(found) if found[percent] > 0}


def _nines(percent: float) -> float:
    """Where a percentile stands, so that 90, 99 and 99.9 are one step apart."""
    return -math.log10(1 - percent / 100)


# --- a drawing --------------------------------------------------------------------------------------------------------


class _Drawing:
    """One pair of axes, without matplotlib's state of the process."""

    def __init__(self, title: str, x: str, y: str) -> None:
        from matplotlib.figure import Figure

        self._figure = Figure(figsize=_SIZE, layout="constrained")
        self.axes: Axes = self._figure.subplots()
        self.axes.set_title(title)
        self.axes.set_xlabel(x)
        self.axes.set_ylabel(y)
        self.axes.grid(alpha=0.3)
        self._marked = 0

    def mark(self) -> str:
        """The next side's, so that none needs a colour to be told."""
        mark = _MARKS[self._marked % len(_MARKS)]
        self._marked += 1
        return mark

    def save(self, file: Path) -> Path:
        self.axes.legend()
        self._figure.savefig(file)
        return file


def _width(side: str) -> float:
    return 2.5 if side == OURS else 1.2


def _sides(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row.side for row in rows))


def _slug(*words: str) -> str:
    return "-".join(re.sub(r"[^a-z0-9.]+", "-", word.lower()).strip("-") for word in words if word)
