"""A report: all runs, the median and spread of each figure, ratios pair by pair; as JSON and as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from benchmarks.measure import Spread, spread
from benchmarks.rounds import DISTURBED, Run
from benchmarks.scenario import Scenario
from benchmarks.side import OURS

UNITS = {
    "rate": "jobs/s",
    "p50_ms": "p50, ms",
    "p99_ms": "p99, ms",
    "max_ms": "max, ms",
    "call_p50_ms": "add call p50, ms",
    "server_us": "server CPU, us/job",
    "add_server_us": "server CPU of adding, us/job",
    "worker_us": "worker CPU, us/job",
    "producer_us": "producer CPU, us/job",
    "commands": "commands/job",
    "reads": "reads/job",
    "bytes": "bytes/job",
    "worker_mb": "worker peak, MB",
    "others": "others, cores",
}


class Row(Struct, frozen=True):
    variant: str
    side: str
    jobs: int
    figures: dict[str, Spread]


class Ratio(Struct, frozen=True):
    """Ours divided by the other side's figure, in each repeat."""

    variant: str
    against: str
    figures: dict[str, Spread]


class Report(Struct, frozen=True):
    scenario: str
    summary: str
    main: str
    made: str
    """When, UTC."""
    commit: str
    machine: dict[str, str]
    server: dict[str, str]
    versions: dict[str, dict[str, str]]
    notes: dict[str, str]
    """Side -> how it is set up."""
    rows: list[Row]
    ratios: list[Ratio]
    runs: list[Run]


def rows(runs: Sequence[Run]) -> list[Row]:
    return [
        Row(
            variant,
            side,
            group[0].jobs,
            {name: spread([run.figures[name] for run in group]) for name in group[0].figures},
        )
        for (variant, side), group in _grouped(runs).items()
    ]


def ratios(runs: Sequence[Run]) -> list[Ratio]:
    groups = _grouped(runs)
    return [
        Ratio(variant, side, dict(_divided(groups[variant, OURS], group)))
        for (variant, side), group in groups.items()
        if side != OURS
    ]


def _divided(ours: Sequence[Run], others: Sequence[Run]) -> Iterator[tuple[str, Spread]]:
    for name in ours[0].figures:
        pairs = [(our.figures[name], other.figures[name]) for our, other in zip(ours, others, strict=True)]
        # Nothing to divide by: the run was too short for the clock of the CPU time. And `others` is no side's own figure.
        if name != "others" and all(other for _, other in pairs):
            yield name, spread([our / other for our, other in pairs])


def _grouped(runs: Sequence[Run]) -> dict[tuple[str, str], list[Run]]:
    """Those that count, by variant and side, in the order of the repeats."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        if not run.counted:
            continue
        groups.setdefault((run.variant, run.side), []).append(run)
    return groups


def table(report: Report, scenario: Scenario) -> str:
    lines = [f"{report.scenario}: {report.summary}", ""]
    for heading, facts in (("machine", report.machine), ("server", report.server)):
        lines.append(f"{heading}: " + ", ".join(f"{name} {value}" for name, value in facts.items()))
    for side, note in report.notes.items():
        used = ", ".join(f"{name} {number}" for name, number in report.versions[side].items())
        lines.append(f"{side}: {used}; {note}")
    lines += ["", f"commit {report.commit or 'unknown'}; median (lowest-highest) of the repeats", ""]
    cells = [["variant", "side", "jobs", *(UNITS[name] for name in scenario.shown)]]
    for row in report.rows:
        figures = [_shown(row.figures[name]) if name in row.figures else "-" for name in scenario.shown]
        cells.append([row.variant, row.side, f"{row.jobs:,}", *figures])
    lines += _columns(cells)
    counted = [run for run in report.runs if run.counted]
    if dropped := len(report.runs) - len(counted):
        lines += [
            "",
            f"{dropped} further runs were dropped: others used over {DISTURBED} cores in a run of their repeat",
        ]
    disturbed = [run for run in counted if run.disturbed]
    if disturbed:
        lines += [
            "",
            f"NOT CALM: in {len(disturbed)} of {len(counted)} runs other processes used over {DISTURBED} cores",
        ]
    if report.ratios:
        lines += ["", f"{OURS} divided by the other side, pair by pair", ""]
        cells = [["variant", "against", *(UNITS[name] for name in scenario.shown)]]
        for ratio in report.ratios:
            figures = [_shown(ratio.figures[name]) if name in ratio.figures else "-" for name in scenario.shown]
            cells.append([ratio.variant, ratio.against, *figures])
        lines += _columns(cells)
    return "\n".join(lines)


def _shown(value: Spread) -> str:
    return f"{_number(value.median)} ({_number(value.low)}-{_number(value.high)})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _columns(cells: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
