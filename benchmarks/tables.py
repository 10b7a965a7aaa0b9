"""Writes the figures of both READMEs and their chart from the reports in benchmarks/results/, and measures these reports."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path

import msgspec
from msgspec.structs import replace

from benchmarks import chart
from benchmarks.bars import ALL, MORE, NODE, PARTS, Part, Result, results
from benchmarks.measure import Spread
from benchmarks.ours import BARE, ENGINE
from benchmarks.peers import PEERS
from benchmarks.report import Ratio, Report, columns, number, read, shown
from benchmarks.rounds import Run
from benchmarks.scenario import Variant
from benchmarks.scenarios import SCENARIOS
from benchmarks.session import Setup, run
from benchmarks.side import LIMIT, OURS
from benchmarks.verdict import TRUSTED

RESULTS = Path("benchmarks/results")
PAGES = (Path("README.md"), Path("benchmarks/README.md"))
CHARTS = Path("docs/images")
_RAW = "https://raw.githubusercontent.com/corral-jobs/corral/main"
_BEGIN, _END = "<!-- measured: written by python -m benchmarks tables -->", "<!-- /measured -->"

_NAMES = {
    OURS: "Corral",
    NODE: "BullMQ (Node)",
    "bullmq_node_6": "BullMQ 6 (Node)",
    "bullmq_python": "BullMQ (Python)",
    "rq": "RQ",
    "celery": "Celery",
    "taskiq_list": "taskiq (list)",
    "taskiq_stream": "taskiq (stream)",
    LIMIT: "the bare loop",
}


# --- measuring --------------------------------------------------------------------------------------------------------


def measure(names: Sequence[str], root: Path, setup: Setup, *, every: bool, small: bool) -> list[str]:
    """Run these parts, or all that the bars need, and keep each report at once. Returns the names of those that failed."""
    parts = {part.name: part for part in (*PARTS, *MORE)}
    if unknown := [name for name in names if name not in parts]:
        raise SystemExit(f"--part: there is no {', '.join(unknown)}; there are {', '.join(parts)}")
    wanted = [parts[name] for name in names] or [*PARTS, *(MORE if every else ())]
    failed = []
    for part in wanted:
        began = time.monotonic()
        print(f"== {part.name}", file=sys.stderr, flush=True)
        try:
            keep(_run(part, setup, small=small), root / RESULTS / f"{part.name}.json")
        except (Exception, SystemExit) as error:
            print(f"{part.name} FAILED: {type(error).__name__}: {error}", file=sys.stderr)
            failed.append(part.name)
        print(f"== {part.name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return failed


def _run(part: Part, setup: Setup, *, small: bool) -> Report:
    scenario = SCENARIOS[part.scenario]
    variants = variants_of(part)
    sides = [ENGINE, *([BARE] if part.bare else []), *(PEERS[name] for name in part.peers)]
    return run(scenario, variants, sides, made(part, setup, small=small))


def variants_of(part: Part) -> list[Variant]:
    variants = SCENARIOS[part.scenario].variants
    return [variant for variant in variants if any(fnmatch(variant.name, only) for only in part.only)]


def made(part: Part, setup: Setup, *, small: bool) -> Setup:
    """How the runs of a part are made; what the command was asked for beats what the part says."""
    jobs, repeat = part.jobs, part.repeat
    if small:
        jobs, repeat = 200 if SCENARIOS[part.scenario].sliced else 20, 2
    return replace(
        setup,
        fsync="everysec" if part.aof else "off",
        repeat=setup.repeat or repeat,
        seconds=setup.seconds or part.seconds,
        jobs=jobs,
    )


def keep(report: Report, file: Path) -> None:
    """Write what the tables need, small enough to be committed: no paths of this machine, few digits."""
    server = {name: value for name, value in report.server.items() if name != "program"}
    runs = [
        replace(run, figures={name: _short(value) for name, value in run.figures.items() if _is_kept(name)})
        for run in report.runs
    ]
    rows = [replace(row, figures={name: _few(value) for name, value in row.figures.items()}) for row in report.rows]
    ratios = [
        replace(ratio, figures={name: _few(value) for name, value in ratio.figures.items()}) for ratio in report.ratios
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    small = replace(report, server=server, runs=runs, rows=rows, ratios=ratios)
    file.write_bytes(b"\n".join(_lines(small)) + b"\n")


def _lines(report: Report) -> Iterator[bytes]:
    """One line a field, so that a change can be read."""
    fields = list(report.__struct_fields__)
    for name in fields:
        comma = b"" if name == fields[-1] else b","
        head = b"{" if name == fields[0] else b" "
        yield head + msgspec.json.encode(name) + b": " + msgspec.json.encode(getattr(report, name)) + comma
    yield b"}"


def _is_kept(name: str) -> bool:
    return name in (
        "rate",
        "cpu_rate",
        "server_us",
        "worker_us",
        "producer_us",
        "p50_ms",
        "p99_ms",
        "others",
        "steal",
        "slowdown",
    )


def _few(value: Spread) -> Spread:
    low, high = map(_short, value.interval)
    return Spread(_short(value.median), _short(value.low), _short(value.high), value.runs, (low, high))


def _short(value: float) -> float:
    return float(f"{value:.4g}")


# --- reading and writing ----------------------------------------------------------------------------------------------


def stored(root: Path) -> dict[str, Report]:
    """The reports that are kept, by part, in the order of the parts."""
    files = {part.name: root / RESULTS / f"{part.name}.json" for part in (*PARTS, *MORE)}
    return {name: read(file) for name, file in files.items() if file.exists()}


def write(root: Path) -> list[Path]:
    """Bring the pages and the chart up to the reports; the files that changed."""
    reports = stored(root)
    if not reports:
        raise SystemExit(f"{RESULTS} has no report; python -m benchmarks tables --measure makes them")
    files = {root / page: _with_section((root / page).read_text(), text) for page, text in sections(reports).items()}
    files |= {root / CHARTS / f"speed-{name}.svg": text for name, text in charts(reports).items()}
    changed = [file for file, text in files.items() if not file.exists() or file.read_text() != text]
    for file in changed:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(files[file])
    return changed


def _with_section(page: str, text: str) -> str:
    if page.count(_BEGIN) != 1 or page.count(_END) != 1:
        raise SystemExit(f"a page needs {_BEGIN} and {_END}, once each; the figures go between them")
    before, _, rest = page.partition(_BEGIN)
    return f"{before}{_BEGIN}\n{text}\n{_END}{rest.partition(_END)[2]}"


def sections(reports: Mapping[str, Report]) -> dict[Path, str]:
    """Page -> what stands between its markers."""
    short, long = PAGES
    return {short: "\n".join(_front(reports)), long: "\n".join(_measured(reports))}


def bars_shown(reports: Mapping[str, Report]) -> str:
    """The bars as lines for a terminal."""
    return "\n".join(columns([["bar", "", "measured", "by CPU time", "verdict"], *map(_cells, results(reports))]))


# --- the front page ---------------------------------------------------------------------------------------------------


def _front(reports: Mapping[str, Report]) -> Iterator[str]:
    drain = reports.get("drain")
    ratios = _rivals(reports)
    node = next((ratio for ratio in ratios if ratio.against == NODE), None)
    if drain is None or node is None:
        yield "No measurement is stored."
        return
    python = [ratio for ratio in ratios if not ratio.against.startswith("bullmq_node")]
    words = [f"{_times(node)} times as fast as BullMQ {drain.versions[NODE]['bullmq']} on Node"]
    if python:
        best, *_ = sorted(python, key=lambda ratio: _speed(ratio).median)
        words.append(f"{_times(best)} times as fast as {_name(best.against)}, the fastest Python peer measured")
    yield _picture()
    yield ""
    yield f"One worker process with concurrency 100 processes no-op jobs {' and '.join(words)}"
    yield f"({_basis(node)}; {_where(drain, _commits(_drains(reports)))})."


def _picture() -> str:
    light, dark = (f"{_RAW}/{CHARTS}/speed-{name}.svg" for name in ("light", "dark"))
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">\n'
        f'<img alt="Jobs a second and CPU time of a job: Corral and other job queues" src="{light}"></picture>'
    )


def _drains(reports: Mapping[str, Report]) -> list[Report]:
    """The reports that compare drains with rivals."""
    return [reports[name] for name in ("drain", "peers", "more-peers") if name in reports]


def _rivals(reports: Mapping[str, Report]) -> list[Ratio]:
    """Of each rival the ratio of the drain, the fastest first."""
    found = [
        ratio
        for report in _drains(reports)
        for ratio in report.ratios
        if ratio.variant == ALL and "rate" in ratio.figures
    ]
    return sorted(found, key=lambda ratio: _speed(ratio).median)


def _commits(reports: Iterable[Report]) -> str:
    """The commits at which these were measured, which differ if the parts were not run together."""
    commits = sorted({report.commit for report in reports})
    return f"commit{'s' if len(commits) > 1 else ''} {', '.join(commits)}"


def _speed(ratio: Ratio) -> Spread:
    """By the wall's clock if that can be trusted, else by CPU time."""
    return ratio.figures["rate"] if _by_wall(ratio) else ratio.figures["cpu_rate"]


def _by_wall(ratio: Ratio) -> bool:
    return ratio.verdicts.get("rate") == TRUSTED or "cpu_rate" not in ratio.figures


def _times(ratio: Ratio) -> str:
    return shown(_speed(ratio))


def _basis(ratio: Ratio) -> str:
    pairs = f"median and spread of {ratio.pairs} pairs of neighbouring runs"
    return pairs if _by_wall(ratio) else f"{pairs}, by CPU time of the busier core: the machine was not calm"


def _where(report: Report, commits: str) -> str:
    aof = report.server["appendonly"]
    log = "no append-only file" if aof == "no" else f"append-only file {report.server['appendfsync']}"
    return (
        f"{commits}; {report.made[:10]}, {report.machine['cores']} cores of {report.machine['processor']}, "
        f"{report.server['server']}, {log}, all results kept"
    )


def _name(side: str) -> str:
    return _NAMES.get(side, side)


# --- the page of the benchmarks ---------------------------------------------------------------------------------------


def _measured(reports: Mapping[str, Report]) -> Iterator[str]:
    yield from _provenance(reports)
    yield ""
    yield "### Bars"
    yield ""
    yield from _table(["what", "bar", "measured", "by CPU time", "verdict"], map(_cells, results(reports)))
    yield ""
    yield "Ratios are Corral divided by BullMQ for Node where the row names nobody else. *by CPU time*: the ratio of the rates that the busier"
    yield "core allows, which other programs on the machine hardly change."
    yield from _rival_table(reports)
    yield from _scale(reports)


def _provenance(reports: Mapping[str, Report]) -> Iterator[str]:
    first = next(iter(reports.values()))
    days = sorted({report.made[:10] for report in reports.values()})
    disturbed = sum(run.disturbed for run in _runs(reports))
    yield f"{_commits(reports.values()).capitalize()}; {', '.join(days)}; {first.machine['cores']} cores of {first.machine['processor']},"
    yield f"{first.machine['kernel']}; {first.server['server']}, {first.server['transport']}, {first.server['cores']}; no append-only file"
    yield f"where a row does not say otherwise. {len(reports)} reports, {len(_runs(reports))} runs, of which {disturbed} were disturbed"
    yield "by other programs or by the host."


def _runs(reports: Mapping[str, Report]) -> list[Run]:
    return [run for report in reports.values() for run in report.runs if run.counted]


def _cells(result: Result) -> list[str]:
    what = result.bar.what + (f" ({_name(result.against)})" if "*" in result.bar.against and result.against else "")
    measured = shown(result.measured) if result.measured else "-"
    by_cpu = shown(result.by_cpu) if result.by_cpu else ""
    return [what, result.bar.limit, measured, by_cpu, result.verdict]


def _rival_table(reports: Mapping[str, Report]) -> Iterator[str]:
    ratios = _rivals(reports)
    if not ratios:
        return
    yield ""
    yield "### Rivals"
    yield ""
    yield "Drain with concurrency 100, all results kept, no append-only file. CPU time is the server's for adding and processing, plus the worker's"
    yield "and the producer's. Ratios are Corral divided by the rival, from neighbouring slices."
    yield ""
    rows = []
    for ratio in ratios:
        side = _bars_of(reports, ratio.against)
        rows.append(
            [
                _name(ratio.against),
                _rate_of(reports, ratio.against),
                shown(ratio.figures["rate"]),
                shown(ratio.figures["cpu_rate"]) if "cpu_rate" in ratio.figures else "-",
                " + ".join(number(part) for part in side),
                ratio.verdicts.get("rate", ""),
            ]
        )
    ours = [
        _name(OURS),
        _rate_of(reports, OURS),
        "1",
        "1",
        " + ".join(number(part) for part in _bars_of(reports, OURS)),
        "",
    ]
    heads = [
        "",
        "jobs/s",
        "ratio by wall time",
        "by CPU time",
        "CPU, us/job: server + worker + producer",
        "wall time is",
    ]
    yield from _table(heads, [ours, *rows])


def _rate_of(reports: Mapping[str, Report], side: str) -> str:
    return number(_row(reports, side)["rate"].median)


def _bars_of(reports: Mapping[str, Report], side: str) -> tuple[float, float, float]:
    figures = _row(reports, side)
    return figures["both_server_us"].median, figures["worker_us"].median, figures["producer_us"].median


def _row(reports: Mapping[str, Report], side: str) -> dict[str, Spread]:
    return next(
        row.figures
        for name in ("drain", "peers", "more-peers")
        if name in reports
        for row in reports[name].rows
        if (row.variant, row.side) == (ALL, side)
    )


def _scale(reports: Mapping[str, Report]) -> Iterator[str]:
    """Reports that the bars do not ask for: each as its own table."""
    for name in ("scale", "scale-servers", "thousand-queues"):
        report = reports.get(name)
        if report is None:
            continue
        shown_here = [figure for figure in report.shown if any(figure in row.figures for row in report.rows)]
        yield ""
        yield f"### `{report.scenario}`"
        yield ""
        yield f"{report.summary[:1].upper()}{report.summary[1:]}."
        yield ""
        heads = ["variant", *(report.units.get(figure, figure) for figure in shown_here)]
        yield from _table(
            heads, [[row.variant, *(shown(row.figures[figure]) for figure in shown_here)] for row in report.rows]
        )


def _table(heads: Sequence[str], rows: Iterator[list[str]] | Sequence[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    for row in rows:
        yield f"| {' | '.join(row)} |"


# --- the chart --------------------------------------------------------------------------------------------------------


def charts(reports: Mapping[str, Report]) -> dict[str, str]:
    """Theme -> SVG; empty without the report of the drain."""
    ratios = _rivals(reports)
    if "drain" not in reports or not ratios:
        return {}
    sides = [chart.Bars(_name(OURS), 1.0, _bars_of(reports, OURS))]
    sides += [
        chart.Bars(_name(ratio.against), 1 / _speed(ratio).median, _bars_of(reports, ratio.against)) for ratio in ratios
    ]
    drain = reports["drain"]
    source = [
        f"{_commits(_drains(reports)).capitalize()}; {drain.made[:10]}; one worker process, concurrency 100, no-op jobs, results kept, "
        f"{drain.server['server']}."
    ]
    if not all(map(_by_wall, ratios)):
        source.append("The machine was not calm: jobs a second are those that the busier core's CPU time allows.")
    return {theme.name: chart.draw(sides, theme, source=source) for theme in chart.THEMES}
