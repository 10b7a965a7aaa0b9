"""The bars of the design: what is measured, what it should reach, and what reports say about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from benchmarks.measure import Spread
from benchmarks.report import Report, number
from benchmarks.rounds import DISTURBED
from benchmarks.side import OURS
from benchmarks.verdict import TRUSTED, WIDE

NODE = "bullmq_node"
ALL, RESULTS, NONE = (
    f"concurrency=100, keep=all, payload=100{more}" for more in ("", ", events=results", ", events=none")
)


class Part(Struct, frozen=True):
    """One report of the tables: what `python -m benchmarks tables --measure` runs and keeps in results/NAME.json."""

    name: str
    scenario: str
    only: Sequence[str]
    """Patterns of the names of its variants."""
    peers: Sequence[str] = ()
    bare: bool = False
    aof: bool = False
    repeat: int = 5
    seconds: float = 2.0
    jobs: int | None = None


PYTHON = ("bullmq_python", "dramatiq", "huey", "saq", "arq")
"""The fastest of the Python rivals; the others are slower by half and more."""
_OTHERS = ("bullmq_node_6", "pydocket", "streaq", "taskiq_stream", "taskiq_list", "rq", "celery")

PARTS = (
    Part("drain", "drain", [f"{ALL}*"], [NODE], seconds=5),
    Part("drain-aof", "drain", [f"{ALL}*"], [NODE], aof=True),
    Part("enqueue", "enqueue", ["way=one", "way=at once", "way=bulk"], [NODE], repeat=7, seconds=1),
    Part("narrow", "drain", ["concurrency=1, *", "concurrency=10, *"], [NODE], repeat=7, seconds=1),
    Part("many-queues", "many-queues", ["queues=200, *"], [NODE]),
    Part("bare", "drain", [ALL], bare=True, repeat=7, seconds=1),
    Part("keep-none", "drain", ["*, keep=0, *"]),
    Part("peers", "drain", [ALL], PYTHON, seconds=1),
    Part("latency", "latency", ["load=idle, *"], [NODE, "huey"], jobs=250),
    Part("latency-half", "latency", ["load=half, *"], [NODE]),
    Part("delayed", "delayed", ["due=together, *"], repeat=3),
    Part("memory", "memory", ["state=waiting, listpack=64"], [NODE], repeat=3),
    Part("recovery", "recovery", ["lock=default, *"], repeat=1),
)
"""In the order of their weight, so that a run that is cut short has the most important ones."""
MORE = (
    Part("more-peers", "drain", [ALL], _OTHERS, seconds=1),
    Part("scale", "scale", ["*"], repeat=3),
    Part("scale-servers", "scale-servers", ["*"], repeat=3),
    Part("thousand-queues", "many-queues", ["queues=1000, *"], repeat=3),
)
"""Run where they are asked for by name, or with --all."""


class Bar(Struct, frozen=True):
    what: str
    part: str
    variant: str
    figure: str
    against: Sequence[str] = ()
    """Sides that ours is divided by, of which the worst counts; `*` is all of the report. Empty: our own figure."""
    least: float | None = None
    most: float | None = None
    waits: bool = False
    """A job waits for replies more than for a core: CPU time says nothing about the rate."""
    beside: tuple[str, str] = ("", "")
    """Part and variant whose own figure ours is divided by, instead of another side's."""

    def holds(self, value: float) -> bool:
        return value >= self.least if self.least is not None else value <= (self.most or 0.0)

    @property
    def limit(self) -> str:
        return f">= {self.least:g}" if self.least is not None else f"<= {self.most:g}"


def _drain(part: str, words: str, least: tuple[float, float, float]) -> Iterator[Bar]:
    for events, variant, bar in zip(("all", "results", "none"), (ALL, RESULTS, NONE), least, strict=True):
        yield Bar(f"drain, events {events}, {words}", part, variant, "rate", [NODE], least=bar)


BARS: tuple[Bar, ...] = (
    *_drain("drain", "no AOF", (3.0, 3.6, 4.2)),
    *_drain("drain-aof", "AOF everysec", (2.9, 3.4, 4.0)),
    Bar("drain, best Python peer", "peers", ALL, "rate", ["*"], least=10),
    Bar("drain, concurrency 1", "narrow", "concurrency=1, keep=all, payload=100", "rate", [NODE], least=1.4, waits=True),
    Bar("drain, concurrency 10", "narrow", "concurrency=10, keep=all, payload=100", "rate", [NODE], least=2.4),
    Bar("drain, 200 queues in one process", "many-queues", "queues=200, idle=2", "rate", [NODE], least=2),
    Bar("add, 100 at once", "enqueue", "way=at once", "rate", [NODE], least=2.2),
    Bar("add, bulk of 1,000", "enqueue", "way=bulk", "rate", [NODE], least=3.9),
    Bar("add, one by one", "enqueue", "way=one", "rate", [NODE], least=1.3, waits=True),
    Bar("server CPU of a job, add + drain, no AOF", "drain", ALL, "both_server_us", [NODE], most=0.35),
    Bar("worker CPU of a job", "drain", ALL, "worker_us", [NODE], most=0.22),
    Bar("round trips of a job, concurrency 100", "drain", ALL, "reads", most=0.05),
    Bar("drain against the bare loop", "bare", ALL, "rate", ["bare"], least=0.85),
    Bar("keeping none against keeping all: server CPU", "keep-none", "concurrency=100, keep=0, payload=100", "server_us", most=1.0, beside=("drain", ALL)),
    Bar("idle pick-up, p50, best peer", "latency", "load=idle, concurrency=10", "p50_ms", ["*"], most=0.7),
    Bar("idle pick-up, p99, best peer", "latency", "load=idle, concurrency=10", "p99_ms", ["*"], most=0.7),
    Bar("add call at 50 a second, p50", "latency", "load=idle, concurrency=10", "call_p50_ms", [NODE], most=0.7),
    Bar("pick-up at half load, p99", "latency-half", "load=half, concurrency=10", "p99_ms", [NODE], most=0.5),
    Bar("delayed jobs: late by, p99, ms", "delayed", "due=together, far=100000, concurrency=100", "p99_ms", most=5),
    Bar("memory of a waiting job", "memory", "state=waiting, listpack=64", "job_bytes", [NODE], most=1.0),
    Bar("a killed worker's jobs are done after, s", "recovery", "lock=default, sweep=default, sleep=2000", "recovered_s", most=20),
)  # fmt: skip


class Result(Struct, frozen=True):
    """What the reports say about a bar."""

    bar: Bar
    measured: Spread | None
    """None: not measured."""
    by_cpu: Spread | None = None
    """Where the bar is about a rate: the ratio of the rates that CPU time allows."""
    trust: str = ""
    cpu_trust: str = ""
    against: str = ""

    @property
    def verdict(self) -> str:
        if self.measured is None:
            return "not measured"
        if self.trust != TRUSTED and self.by_cpu is not None and self.cpu_trust == TRUSTED:
            return f"{self._of(self.by_cpu)} by CPU time; wall time {self.trust}"
        return self._of(self.measured) + ("" if self.trust == TRUSTED else f"; {self.trust}")

    def _of(self, value: Spread) -> str:
        met = self.bar.holds(value.median)
        word = "met" if met else "missed"
        ends = (*value.interval, value.median)
        return word if all(self.bar.holds(end) == met for end in ends) else f"{word}, within the spread"


def results(reports: Mapping[str, Report]) -> list[Result]:
    return [_result(bar, reports) for bar in BARS]


def _result(bar: Bar, reports: Mapping[str, Report]) -> Result:
    report = reports.get(bar.part)
    if report is None:
        return Result(bar, None)
    if bar.against:
        return _worst(bar, report)
    return _own(bar, report, reports.get(bar.beside[0]))


def _worst(bar: Bar, report: Report) -> Result:
    found = [
        Result(
            bar,
            ratio.figures[bar.figure],
            ratio.figures.get("cpu_rate") if bar.figure == "rate" and not bar.waits else None,
            ratio.verdicts.get(bar.figure, ""),
            ratio.verdicts.get("cpu_rate", ""),
            ratio.against,
        )
        for ratio in report.ratios
        if ratio.variant == bar.variant
        and bar.figure in ratio.figures
        and (ratio.against in bar.against or "*" in bar.against)
    ]
    best_first = sorted(found, key=lambda result: result.measured.median if result.measured else 0.0)
    if not best_first:
        return Result(bar, None)
    return best_first[0] if bar.least is not None else best_first[-1]


def _own(bar: Bar, report: Report, beside: Report | None) -> Result:
    value = _figure(report, bar.variant, bar.figure)
    if value is None:
        return Result(bar, None)
    if bar.beside[0]:
        other = _figure(beside, bar.beside[1], bar.figure) if beside else None
        if other is None:
            return Result(bar, None)
        low, high = value.interval[0] / other.interval[1], value.interval[1] / other.interval[0]
        value = Spread(value.median / other.median, low, high, min(value.runs, other.runs), (low, high))
    return Result(bar, value, trust=_trust(bar, report, value))


def _figure(report: Report, variant: str, figure: str) -> Spread | None:
    return next((row.figures.get(figure) for row in report.rows if (row.variant, row.side) == (variant, OURS)), None)


def _trust(bar: Bar, report: Report, value: Spread) -> str:
    """Of a figure that is not divided by a neighbour's: a clock of the wall needs a calm machine, CPU time a narrow spread."""
    others = _figure(report, bar.variant, "others")
    if bar.figure.endswith("_ms") and others is not None and others.median > DISTURBED:
        return f"not trusted: others used {number(others.median)} cores"
    if value.width > WIDE and bar.figure.endswith("_us"):
        return f"not trusted: spread {value.width:.0%}"
    return TRUSTED
