"""Two reports of one scenario side by side: before and after a change, or one machine and another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.measure import Spread
from benchmarks.report import Report, columns, read, shown

_OF_THE_MOMENT = ("load at the start",)


def compare(first: Path, second: Path) -> str:
    a, b = read(first), read(second)
    if a.scenario != b.scenario:
        raise SystemExit(f"{first} is about {a.scenario} and {second} about {b.scenario}; give two of one scenario")
    lines = [f"{a.scenario}: {a.summary}", ""]
    for letter, file, report in (("A", first, a), ("B", second, b)):
        lines.append(f"{letter}: {file}, commit {report.commit or 'unknown'}, made {report.made}")
    lines += ["", *(list(_differences(a, b)) or ["machine, server settings and versions are the same"]), ""]
    cells = list(_cells(a, b))
    if not cells:
        raise SystemExit(f"{first} and {second} have no row in common: no variant was run by the same side in both")
    lines += columns([["variant", "side", "figure", "A", "B", "B/A", ""], *cells])
    lines += ["", "median (lowest-highest); B/A of the medians, with the lowest and highest that the brackets allow"]
    lines += list(_unmatched(a, b))
    return "\n".join(lines)


def _differences(a: Report, b: Report) -> Iterator[str]:
    pairs: list[tuple[str, Mapping[str, str], Mapping[str, str]]] = [
        ("machine", a.machine, b.machine),
        ("server", a.server, b.server),
        *((side, a.versions[side], b.versions[side]) for side in a.versions if side in b.versions),
    ]
    for what, of_a, of_b in pairs:
        for name in {**of_a, **of_b}:
            if name not in _OF_THE_MOMENT and of_a.get(name) != of_b.get(name):
                yield f"DIFFERENT {what}: {name} is {of_a.get(name, 'not told')} in A, {of_b.get(name, 'not told')} in B"


def _cells(a: Report, b: Report) -> Iterator[list[str]]:
    theirs = {(row.variant, row.side): row for row in b.rows}
    for row in a.rows:
        other = theirs.get((row.variant, row.side))
        if other is None:
            continue
        if row.jobs != other.jobs:
            yield [row.variant, row.side, "jobs", f"{row.jobs:,}", f"{other.jobs:,}", "", ""]
        for name in a.shown:
            if name in row.figures and name in other.figures:
                of_a, of_b = row.figures[name], other.figures[name]
                ratio, apart = _ratio(of_a, of_b)
                yield [row.variant, row.side, a.units.get(name, name), shown(of_a), shown(of_b), ratio, apart]


def _ratio(a: Spread, b: Spread) -> tuple[str, str]:
    """B/A, and a word where the two cannot be told apart."""
    overlap = "" if a.high < b.low or b.high < a.low else "brackets overlap"
    if a.low <= 0:
        return "-", overlap
    low, high = b.low / a.high, b.high / a.low
    return shown(Spread(b.median / a.median, low, high, min(a.runs, b.runs), (low, high))), overlap


def _unmatched(a: Report, b: Report) -> Iterator[str]:
    of_a, of_b = ({(row.variant, row.side) for row in report.rows} for report in (a, b))
    for letter, only in (("A", of_a - of_b), ("B", of_b - of_a)):
        for variant, side in sorted(only):
            yield f"only in {letter}: {side}, {variant}"
