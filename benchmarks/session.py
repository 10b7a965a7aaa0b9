"""Runs a scenario from the start of its server to the report."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import Struct

from benchmarks import machine
from benchmarks.ours import BARE, ENGINE
from benchmarks.peers import PEERS
from benchmarks.program import ProgramFailed
from benchmarks.progress import progress
from benchmarks.report import UNITS, Report, lacks, ratios, rows
from benchmarks.rounds import Rounds, able
from benchmarks.scenario import Scenario, Variant
from benchmarks.side import Side
from benchmarks.stand import Fsync, Place, Stand, stand


class Setup(Struct, frozen=True):
    """How runs are made, of any scenario."""

    server: str | None = None
    tcp: bool = True
    fsync: Fsync = "everysec"
    place: Place = "apart"
    repeat: int | None = None
    seconds: float | None = None
    """Of a slice; None: one second, or what the part of the tables says."""
    jobs: int | None = None
    calm: bool = False


def chosen(scenario: Scenario, only: Sequence[str]) -> list[Variant]:
    """The variants that have all these settings, as NAME=VALUE. Ends the command if there are none."""
    variants = [variant for variant in scenario.variants if set(only) <= set(variant.name.split(", "))]
    if not variants:
        every = "; ".join(variant.name for variant in scenario.variants)
        raise SystemExit(f"--only: no variant of {scenario.name} has {' and '.join(only)}; there are {every}")
    return variants


def sides_of(scenario: Scenario, peers: Sequence[str] | None) -> list[Side]:
    """Ours, the bare loop, and these rivals; an empty sequence is all, None is none."""
    if scenario.alone and peers is not None:
        raise SystemExit(f"--peers: {scenario.name} asks about the engine only; leave it out")
    limit = [BARE] if scenario.has_limit else []
    asked = () if peers is None else peers or tuple(PEERS)
    return [ENGINE, *limit, *(PEERS[name] for name in asked)]


def run(scenario: Scenario, variants: Sequence[Variant], sides: Sequence[Side], setup: Setup) -> Report:
    about = machine.describe()
    made = datetime.now(UTC).isoformat(timespec="seconds")
    running = [side for side in sides if any(able(side, variant) for variant in variants)]
    for side in running:
        side.install()
    with stand(program=setup.server, tcp=setup.tcp, fsync=setup.fsync, place=setup.place) as on:
        versions = {side.name: _versions(on, side) for side in running}
        rounds = Rounds(scenario, on, running, setup.repeat, setup.jobs, calm=setup.calm, seconds=setup.seconds or 1.0)
        with progress(rounds.steps(variants)) as shown:
            rounds.run(variants, shown)
        return Report(
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


def _versions(on: Stand, side: Side) -> dict[str, str]:
    try:
        with on.producer(side) as producer:
            return producer.versions
    except ProgramFailed as error:
        raise SystemExit(f"{side.name} cannot be run here: {error}") from None
