"""The command: runs a scenario, sets two reports side by side, draws reports."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import machine, plots
from benchmarks.compare import compare
from benchmarks.ours import BARE, ENGINE
from benchmarks.peers import PEERS
from benchmarks.program import ProgramFailed
from benchmarks.progress import progress
from benchmarks.report import UNITS, Report, lacks, ratios, read, rows, table, write
from benchmarks.rounds import Rounds, able
from benchmarks.scenario import Scenario, Variant
from benchmarks.scenarios import SCENARIOS
from benchmarks.side import Side
from benchmarks.stand import Stand, stand

_PEERS_HELP = (
    f"install these rivals, or all, into benchmarks/.peers/ and run them in turn with ours: {', '.join(PEERS)}"
)


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    match args.command:
        case "compare":
            print(compare(args.a, args.b))
        case "plot":
            plots.require()
            for file in args.reports:
                _draw(read(file), args.to, file.stem)
        case scenario:
            _run(SCENARIOS[scenario], args)
    return 0


def _run(scenario: Scenario, args: argparse.Namespace) -> None:
    if args.plot is not None:
        plots.require()
    variants = _chosen(scenario, args.only)
    sides = _sides(scenario, args.peers)
    about = machine.describe()
    made = datetime.now(UTC).isoformat(timespec="seconds")
    running = [side for side in sides if any(able(side, variant) for variant in variants)]
    for side in running:
        side.install()
    with stand(program=args.server, tcp=not args.unix, fsync=args.fsync, place=args.cores) as on:
        versions = {side.name: _versions(on, side) for side in running}
        rounds = Rounds(scenario, on, running, args.repeat, args.jobs, calm=args.calm)
        with progress(rounds.steps(variants)) as shown:
            rounds.run(variants, shown)
        report = Report(
            scenario=scenario.name,
            summary=scenario.summary,
            main=scenario.main,
            shown=list(scenario.shown),
            units={**UNITS, **scenario.units},
            variants={variant.name: variant.settings for variant in variants},
            made=made,
            commit=machine.commit(),
            machine=about,
            server=on.settings(),
            versions=versions,
            notes={side.name: side.notes for side in running},
            lacks=lacks(sides, variants),
            failures=rounds.failures,
            rows=rows(rounds.runs),
            ratios=ratios(rounds.runs),
            runs=rounds.runs,
        )
    print(table(report))
    if args.json is not None:
        write(report, args.json)
    if args.plot is not None:
        _draw(report, args.plot, scenario.name)


def _draw(report: Report, folder: Path, stem: str) -> None:
    drawn = plots.draw(report, folder, stem)
    for file in drawn:
        print(f"drew {file}", file=sys.stderr)
    if not drawn:
        print(f"{report.scenario}: nothing to draw, no setting has two numbers and nothing was late", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures the engine, the bare loop that is its limit, and its rivals.",
        epilog="example: python -m benchmarks drain --peers --only concurrency=100 --json drain.json",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="SCENARIO | compare | plot")
    options = _run_options()
    for name, scenario in SCENARIOS.items():
        summary = scenario.summary.replace("%", "%%")
        commands.add_parser(name, help=summary, description=summary, parents=[options])

    comparing = commands.add_parser("compare", help="set two reports of one scenario side by side")
    comparing.add_argument("a", type=Path, metavar="A.json")
    comparing.add_argument("b", type=Path, metavar="B.json")

    plotting = commands.add_parser("plot", help="draw reports: throughput by concurrency, latency, growth")
    plotting.add_argument("reports", type=Path, nargs="+", metavar="REPORT.json")
    plotting.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="write SVG files there")
    return parser


def _run_options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    add = options.add_argument
    add("--peers", nargs="*", choices=PEERS, metavar="NAME", help=_PEERS_HELP)
    add("--json", type=Path, metavar="FILE", help="write the report there as well")
    add("--plot", type=Path, metavar="FOLDER", help="draw the report there as SVG; needs the bench extra")
    add("--repeat", type=_positive, default=3, metavar="N", help="runs of each side (3)")
    add(
        "--calm",
        action="store_true",
        help="run a repeat again, all its sides, if other processes disturbed one of them",
    )
    add("--jobs", type=_positive, metavar="N", help="jobs of a run, instead of as many as can be timed well")
    add("--only", action="append", default=[], metavar="NAME=VALUE", help="only variants with that setting; repeatable")
    add("--server", metavar="PROGRAM", help="server program, instead of the one that comes with the embedded extra")
    add("--unix", action="store_true", help="over a unix socket instead of TCP on loopback")
    add("--fsync", choices=("everysec", "always", "no", "off"), default="everysec", help="append-only file; off: none")
    add(
        "--cores", choices=("apart", "free"), default="apart", help="apart: a core for the server, another for the rest"
    )
    return options


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _chosen(scenario: Scenario, only: Sequence[str]) -> list[Variant]:
    chosen = [variant for variant in scenario.variants if set(only) <= set(variant.name.split(", "))]
    if not chosen:
        every = "; ".join(variant.name for variant in scenario.variants)
        raise SystemExit(f"--only: no variant of {scenario.name} has {' and '.join(only)}; there are {every}")
    return chosen


def _sides(scenario: Scenario, peers: Sequence[str] | None) -> list[Side]:
    if scenario.alone and peers is not None:
        raise SystemExit(f"--peers: {scenario.name} asks about the engine only; leave it out")
    limit = [BARE] if scenario.has_limit else []
    asked = () if peers is None else peers or tuple(PEERS)
    return [ENGINE, *limit, *(PEERS[name] for name in asked)]


def _versions(on: Stand, side: Side) -> dict[str, str]:
    try:
        with on.producer(side) as producer:
            return producer.versions
    except ProgramFailed as error:
        raise SystemExit(f"{side.name} cannot be run here: {error}") from None


if __name__ == "__main__":
    sys.exit(main())
