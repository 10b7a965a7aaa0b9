"""A report: all runs, the median and spread of each figure, ratios pair by pair; as JSON and as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from benchmarks.measure import PERCENTS, Spread, spread
from benchmarks.rounds import DISTURBED, SLOWED, STOLEN, Failure, Run, able
from benchmarks.scenario import Setting, Variant
from benchmarks.side import OURS, Side
from benchmarks.verdict import Pair, chosen, judge

UNITS = {
    "rate": "jobs/s",
    "cpu_rate": "jobs/s by CPU",
    "seconds": "seconds",
    **{f"p{percent:g}_ms": f"p{percent:g}, ms" for percent in PERCENTS},
    "max_ms": "max, ms",
    "call_p50_ms": "add call p50, ms",
    "call_p99_ms": "add call p99, ms",
    "offered": "offered jobs/s",
    "server_us": "server CPU, us/job",
    "add_server_us": "server CPU of adding, us/job",
    "both_server_us": "server CPU of both, us/job",
    "worker_us": "worker CPU, us/job",
    "producer_us": "producer CPU, us/job",
    "commands": "commands/job",
    "reads": "reads/job",
    "turns": "turns/job",
    "bytes": "bytes/job",
    "worker_mb": "worker peak, MB",
    "slow": "SCRIPTS OVER 10 MS",
    "lost": "LOST",
    "twice": "TWICE",
    "others": "others, cores",
    "steal": "taken by the host, cores",
    "slowdown": "slowdown",
}
_ABOUT_THE_MACHINE = ("others", "steal", "slowdown")
_JUDGED = ("rate", "cpu_rate", "server_us", "both_server_us", "worker_us", "producer_us")
"""Figures whose ratio has a line about its trust, beside the main one."""
_LIMITS = {
    "others": f"other programs used over {DISTURBED} cores",
    "steal": f"the host took over {STOLEN} cores",
    "slowdown": f"a fixed loop took over {SLOWED} times its best",
}
_IF_ANY = ("slow", "lost", "twice")
"""Figures that stand in the table where one of them is not 0."""


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
    verdicts: dict[str, str] = {}
    """Figure -> `trusted`, or why it is not."""
    pairs: int = 0
    """Of which the figures are made, and how many there are."""
    of: int = 0


class Lack(Struct, frozen=True):
    """What a side does not do."""

    side: str
    skill: str
    left_out: list[str]
    """Variants in which it has no row for that."""
    as_it_is: list[str]
    """Variants that it runs nevertheless."""


class Report(Struct, frozen=True):
    scenario: str
    summary: str
    main: str
    shown: list[str]
    """Figures of the table."""
    units: dict[str, str]
    """Figure -> its title."""
    variants: dict[str, dict[str, Setting]]
    """Name -> settings."""
    made: str
    """When, UTC."""
    commit: str
    machine: dict[str, str]
    server: dict[str, str]
    versions: dict[str, dict[str, str]]
    notes: dict[str, str]
    """Side -> how it is set up."""
    lacks: list[Lack]
    failures: list[Failure]
    rows: list[Row]
    ratios: list[Ratio]
    runs: list[Run]


def write(report: Report, file: Path) -> None:
    file.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))


def read(file: Path) -> Report:
    """The report in a file. Ends the command with a sentence that helps if there is none."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Report)
    except OSError as error:
        raise SystemExit(f"{file}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SystemExit(
            f"{file} is no report of these benchmarks ({error}); python -m benchmarks SCENARIO --json FILE writes one"
        ) from None


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
    return [_ratio(variant, side, pairs) for (variant, side), pairs in _paired(runs).items()]


def _paired(runs: Sequence[Run]) -> dict[tuple[str, str], list[Pair]]:
    """Our run and the other side's of each repeat, by variant and other side."""
    ours = {(run.variant, run.against, run.repeat): run for run in runs if run.counted and run.side == OURS}
    pairs: dict[tuple[str, str], list[Pair]] = {}
    for run in runs:
        our = ours.get((run.variant, run.side if run.against else "", run.repeat))
        if run.counted and run.side != OURS and our is not None:
            pairs.setdefault((run.variant, run.side), []).append((our, run))
    return pairs


def _ratio(variant: str, side: str, pairs: Sequence[Pair]) -> Ratio:
    used = chosen(pairs)
    figures = dict(_divided(used))
    verdicts = {name: judge(name, value, used) for name, value in figures.items()}
    return Ratio(variant, side, figures, verdicts, len(used), len(pairs))


def _divided(pairs: Sequence[Pair]) -> Iterator[tuple[str, Spread]]:
    our, other = pairs[0]
    for name in our.figures:
        if name in _ABOUT_THE_MACHINE or name not in other.figures:
            continue
        values = [(our.figures[name], other.figures[name]) for our, other in pairs]
        # Else there is nothing to divide by: the run was too short for the clock of the CPU time.
        if all(other for _, other in values):
            yield name, spread([our / other for our, other in values])


def _grouped(runs: Sequence[Run]) -> dict[tuple[str, str], list[Run]]:
    """Those that count, by variant and side, in the order of the repeats."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        if not run.counted:
            continue
        groups.setdefault((run.variant, run.side), []).append(run)
    return groups


def lacks(sides: Sequence[Side], variants: Sequence[Variant]) -> list[Lack]:
    """What the variants ask for and sides do not do."""
    return [
        Lack(
            side.name,
            skill,
            left_out=[variant.name for variant in variants if skill in variant.needs],
            as_it_is=[variant.name for variant in variants if skill in variant.wishes and able(side, variant)],
        )
        for side in sides
        for skill in sorted({skill for variant in variants for skill in variant.needs | variant.wishes} - side.can)
    ]


def table(report: Report) -> str:
    found = [name for name in _IF_ANY if any(_high(row, name) for row in report.rows)]
    names = list(dict.fromkeys([*report.shown, *found]))
    lines = [f"{report.scenario}: {report.summary}", "", *_told(report), ""]
    measured = [([row.variant, row.side, f"{row.jobs:,}"], row.figures) for row in report.rows]
    lines += _figures(report, ["variant", "side", "jobs"], names, measured)
    lines += [*_missing(report), *_warnings(report.runs)]
    if report.ratios:
        names = [name for name in report.shown if name not in _ABOUT_THE_MACHINE]
        lines += ["", f"{OURS} divided by the other side, pair by pair", ""]
        divided = [([ratio.variant, ratio.against], ratio.figures) for ratio in report.ratios]
        lines += [*_figures(report, ["variant", "against"], names, divided), "", *_verdicts(report)]
    return "\n".join(lines)


def _verdicts(report: Report) -> Iterator[str]:
    """Which ratios hold here: one line each."""
    for ratio in report.ratios:
        used = f"{ratio.pairs} pairs" if ratio.pairs == ratio.of else f"the {ratio.pairs} calm pairs of {ratio.of}"
        yield f"{ratio.variant}, against {ratio.against}, {used}:"
        names = [name for name in dict.fromkeys((report.main, *_JUDGED)) if name in report.shown]
        lines = [
            [f"  {report.units.get(name, name)}", shown(ratio.figures[name]), ratio.verdicts.get(name, "")]
            for name in names
            if name in ratio.figures
        ]
        yield from columns(lines) if lines else []


def _figures(
    report: Report, heads: list[str], names: Sequence[str], given: Sequence[tuple[list[str], dict[str, Spread]]]
) -> list[str]:
    """Lines of a table: what each row is, then its figures of these names."""
    cells = [[*heads, *(report.units.get(name, name) for name in names)]]
    for row, figures in given:
        cells.append([*row, *(shown(figures[name]) if name in figures else "-" for name in names)])
    return columns(cells)


def _told(report: Report) -> Iterator[str]:
    """Where and with what it was made."""
    for heading, facts in (("machine", report.machine), ("server", report.server)):
        yield f"{heading}: " + ", ".join(f"{name} {value}" for name, value in facts.items())
    for side, note in report.notes.items():
        used = ", ".join(f"{name} {number}" for name, number in report.versions[side].items())
        yield f"{side}: {used}; {note}"
    yield ""
    yield f"commit {report.commit or 'unknown'}; median (an interval that holds it with 95 %; of fewer than six, lowest-highest)"


def _missing(report: Report) -> list[str]:
    lines = []
    for lack in report.lacks:
        if lack.left_out:
            lines.append(f"{lack.side} does not: {lack.skill}; left out of {'; '.join(lack.left_out)}")
        if lack.as_it_is:
            lines.append(f"{lack.side} does not: {lack.skill}; runs as it is in {'; '.join(lack.as_it_is)}")
    lines += [f"{failure.side} FAILED in {failure.variant}: {failure.why}" for failure in report.failures]
    return ["", *lines] if lines else []


def _warnings(runs: Sequence[Run]) -> list[str]:
    counted = [run for run in runs if run.counted]
    disturbed = sum(run.disturbed for run in counted)
    dropped = len(runs) - len(counted)
    lines = []
    if dropped:
        lines.append(f"{dropped} further runs were dropped: a run of their repeat was disturbed")
    if disturbed:
        causes = {name: sum(name in run.disturbances for run in counted) for name in _ABOUT_THE_MACHINE}
        counts = ", ".join(f"{_LIMITS[name]} in {count}" for name, count in causes.items() if count)
        lines.append(f"NOT CALM: {disturbed} of {len(counted)} runs were disturbed: {counts}")
    return ["", *lines] if lines else []


def _high(row: Row, name: str) -> float:
    return row.figures[name].high if name in row.figures else 0.0


def shown(value: Spread) -> str:
    low, high = value.interval
    return f"{number(value.median)} ({number(low)}-{number(high)})"


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def columns(cells: list[list[str]]) -> list[str]:
    """Lines in which each column is as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
