"""The command: python -m benchmarks SCENARIO [--peers [NAME ...]] [--json FILE] [--repeat N]."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from benchmarks import machine
from benchmarks.ours import BARE, ENGINE
from benchmarks.peers import PEERS
from benchmarks.report import Report, ratios, rows, table
from benchmarks.rounds import run_all
from benchmarks.scenario import Scenario, Variant
from benchmarks.scenarios import SCENARIOS
from benchmarks.side import Side
from benchmarks.stand import Stand, stand

_PEERS_HELP = (
    f"install these rivals, or all, into benchmarks/.peers/ and run them in turn with ours: {', '.join(PEERS)}"
)


def main(argv: Sequence[str] | None = None) -> int:
    args = _arguments(argv)
    scenario = SCENARIOS[args.scenario]
    variants = _chosen(scenario, args.only)
    sides = _sides(scenario, args.peers)
    for side in sides:
        side.install()
    about = machine.describe()
    made = datetime.now(UTC).isoformat(timespec="seconds")
    with stand(program=args.server, tcp=not args.unix, fsync=args.fsync, place=args.cores) as on:
        versions = {side.name: _versions(on, side) for side in sides}
        runs = list(run_all(scenario, on, sides, variants, args.repeat, args.jobs, calm=args.calm))
        report = Report(
            scenario=scenario.name,
            summary=scenario.summary,
            main=scenario.main,
            made=made,
            commit=machine.commit(),
            machine=about,
            server=on.settings(),
            versions=versions,
            notes={side.name: side.notes for side in sides},
            rows=rows(runs),
            ratios=ratios(runs),
            runs=runs,
        )
    print(table(report, scenario))
    if args.json is not None:
        args.json.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="; ".join(f"{name}: {scenario.summary}" for name, scenario in SCENARIOS.items()),
        epilog="example: python -m benchmarks drain --peers --only concurrency=100 --json drain.json",
    )
    add = parser.add_argument
    add("scenario", choices=SCENARIOS, metavar="SCENARIO", help=" | ".join(SCENARIOS))
    add("--peers", nargs="*", choices=PEERS, metavar="NAME", help=_PEERS_HELP)
    add("--json", type=Path, metavar="FILE", help="write the report there as well")
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
    return parser.parse_args(argv)


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
    limit = [BARE] if scenario.has_limit else []
    asked = () if peers is None else peers or tuple(PEERS)
    return [ENGINE, *limit, *(PEERS[name] for name in asked)]


def _versions(on: Stand, side: Side) -> dict[str, str]:
    with on.producer(side) as producer:
        return producer.versions


if __name__ == "__main__":
    sys.exit(main())
