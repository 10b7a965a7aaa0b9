"""The command: runs a scenario, counts instructions, writes the tables of the READMEs, sets two reports side by side, draws reports."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import plots, tables
from benchmarks.compare import compare
from benchmarks.instructions import command as instructions
from benchmarks.micro import calls
from benchmarks.peers import PEERS
from benchmarks.program import ROOT
from benchmarks.report import Report, read, table, write
from benchmarks.rounds import REPEATS, SLICES
from benchmarks.scenario import Scenario
from benchmarks.scenarios import SCENARIOS
from benchmarks.session import Setup, chosen, run, sides_of

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
        case "tables":
            return _tables(args)
        case "instructions":
            return instructions.run(args)
        case "calls":
            return calls.run(args)
        case scenario:
            _run(SCENARIOS[scenario], args)
    return 0


def _run(scenario: Scenario, args: argparse.Namespace) -> None:
    if args.plot is not None:
        plots.require()
    setup = Setup(
        server=args.server,
        tcp=not args.unix,
        fsync=args.fsync,
        place=args.cores,
        repeat=args.repeat,
        seconds=args.seconds,
        jobs=args.jobs,
        calm=args.calm,
    )
    report = run(scenario, chosen(scenario, args.only), sides_of(scenario, args.peers), setup)
    print(table(report))
    if args.json is not None:
        write(report, args.json)
    if args.plot is not None:
        _draw(report, args.plot, scenario.name)


def _tables(args: argparse.Namespace) -> int:
    failed = []
    if args.measure:
        setup = Setup(server=args.server, calm=args.calm, repeat=args.repeat, seconds=args.seconds)
        failed = tables.measure(args.part, args.root, setup, every=args.all, small=args.small)
    for file in tables.write(args.root):
        print(f"wrote {file}", file=sys.stderr)
    print(tables.bars_shown(tables.stored(args.root)))
    if failed:
        print(f"NOT MEASURED, because they failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


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
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="SCENARIO | calls | instructions | tables | compare | plot"
    )
    options = _run_options()
    for name, scenario in SCENARIOS.items():
        summary = scenario.summary.replace("%", "%%")
        commands.add_parser(name, help=summary, description=summary, parents=[options])

    calling = commands.add_parser("calls", help=calls.SUMMARY, description=calls.SUMMARY)
    calls.add_options(calling)

    counting = commands.add_parser("instructions", help=instructions.SUMMARY, description=instructions.SUMMARY)
    instructions.add_options(counting)

    comparing = commands.add_parser("compare", help="set two reports of one scenario side by side")
    comparing.add_argument("a", type=Path, metavar="A.json")
    comparing.add_argument("b", type=Path, metavar="B.json")

    plotting = commands.add_parser("plot", help="draw reports: throughput by concurrency, latency, growth")
    plotting.add_argument("reports", type=Path, nargs="+", metavar="REPORT.json")
    plotting.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="write SVG files there")

    tabling = commands.add_parser(
        "tables", help="write the figures of both READMEs and their chart from benchmarks/results/, and print the bars"
    )
    add = tabling.add_argument
    add("--measure", action="store_true", help="make the reports first: some 20 minutes on two calm cores")
    add("--part", action="append", default=[], metavar="NAME", help="measure only this part; repeatable")
    add("--all", action="store_true", help="measure the parts that no bar needs as well: other rivals, scaling out")
    add("--small", action="store_true", help="a few jobs of each, to see that all runs; the figures mean nothing")
    add("--calm", action="store_true", help="run a pair of slices again if something disturbed it")
    add("--server", metavar="PROGRAM", help="server program, instead of the one that comes with the embedded extra")
    add("--repeat", type=_positive, metavar="N", help="runs or slices of each side, instead of each part's own number")
    add("--seconds", type=float, metavar="S", help="length of a slice, instead of each part's own")
    add("--root", type=Path, default=ROOT, metavar="FOLDER", help="a tree with the READMEs, instead of this one")
    return parser


def _run_options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    add = options.add_argument
    add("--peers", nargs="*", choices=PEERS, metavar="NAME", help=_PEERS_HELP)
    add("--json", type=Path, metavar="FILE", help="write the report there as well")
    add("--plot", type=Path, metavar="FOLDER", help="draw the report there as SVG; needs the bench extra")
    add(
        "--repeat",
        type=_positive,
        metavar="N",
        help=f"runs of each side ({REPEATS}), or slices where sides alternate ({SLICES})",
    )
    add("--seconds", type=float, metavar="S", help="length of a slice (1)")
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


if __name__ == "__main__":
    sys.exit(main())
