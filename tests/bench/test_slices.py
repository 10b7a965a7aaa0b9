"""Slices that alternate in warm processes, what is said about the trust in their ratios, and the tables made of reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from benchmarks import tables
from benchmarks.__main__ import main
from benchmarks.bars import ALL, BARS, MORE, NODE, PARTS, results
from benchmarks.chart import THEMES
from benchmarks.measure import Spread, spread
from benchmarks.ours import BARE, ENGINE
from benchmarks.peers import PEERS
from benchmarks.program import ROOT, ProgramFailed
from benchmarks.progress import progress
from benchmarks.report import Report, ratios, rows
from benchmarks.rounds import Rounds, Run
from benchmarks.scenario import Figures, Scenario, Variant
from benchmarks.scenarios import SCENARIOS
from benchmarks.scenarios.enqueue import ENQUEUE
from benchmarks.session import Setup
from benchmarks.side import Side
from benchmarks.stand import Stand, stand
from benchmarks.tables import made, variants_of
from benchmarks.verdict import TRUSTED, judge

pytestmark = pytest.mark.timeout(120)


# --- slices -----------------------------------------------------------------------------------------------------------


def _measure(stand: Stand, side: Side, variant: Variant, jobs: int) -> Figures:
    if side.name == "broken":
        raise ProgramFailed("it ended")
    return {"rate": 1_000.0 if side.name == "corral" else 500.0, "seconds": 2.0}


def _rounds(on: Stand, *others: Side, jobs: int | None = None, repeat: int = 3) -> Rounds:
    variant = Variant({"way": "one"}, trial=10)
    scenario = Scenario("made-up", "", [variant], _measure, "rate", ("rate",), sliced=True)
    rounds = Rounds(scenario, on, [ENGINE, *others], repeat, jobs, calm=False, seconds=4.0)
    with progress(0) as shown:
        rounds.run([variant], shown)
    return rounds


@pytest.fixture(scope="module")
def on() -> Any:
    with stand(program=None, tcp=False, fsync="off", place="free") as standing:
        yield standing


def test_two_sides_alternate_and_the_first_changes(on: Stand) -> None:
    runs = _rounds(on, BARE, jobs=7).runs
    assert [(run.side, run.against, run.repeat) for run in runs] == [
        ("corral", "bare", 0), ("bare", "corral", 0),
        ("bare", "corral", 1), ("corral", "bare", 1),
        ("corral", "bare", 2), ("bare", "corral", 2),
    ]  # fmt: skip
    assert {run.jobs for run in runs} == {7}


def test_each_side_gets_the_jobs_of_its_own_slice(on: Stand) -> None:
    assert {(run.side, run.jobs) for run in _rounds(on, BARE).runs} == {("corral", 4_000), ("bare", 2_000)}


def test_each_other_side_has_its_own_pairs(on: Stand) -> None:
    other = replace(BARE, name="other")
    runs = _rounds(on, BARE, other, jobs=7).runs
    assert [(ratio.against, ratio.of, ratio.figures["rate"].median) for ratio in ratios(runs)] == [
        ("bare", 3, 2.0),
        ("other", 3, 2.0),
    ]
    assert [(row.side, row.figures["rate"].runs) for row in rows(runs)] == [("corral", 6), ("bare", 3), ("other", 3)]


def test_ours_runs_alone_where_nothing_is_compared(on: Stand) -> None:
    assert [run.side for run in _rounds(on, jobs=7).runs] == ["corral"] * 3


@pytest.mark.parametrize("jobs", [None, 7])
def test_the_pair_of_a_failed_rival_is_dropped(on: Stand, jobs: int | None) -> None:
    broken = Side("broken", worker=(), producer=(), notes="", can=frozenset({"one"}))
    rounds = _rounds(on, broken, BARE, jobs=jobs)
    assert [failure.side for failure in rounds.failures] == ["broken"]
    assert [ratio.against for ratio in ratios(rounds.runs)] == ["bare"]
    assert {run.against for run in rounds.runs} == {"bare", "corral"}


def test_processes_stay_and_are_warmed_once(on: Stand) -> None:
    def added() -> int:
        on.empty()
        ENQUEUE.measure(on, ENGINE, Variant({"way": "bulk"}), 20)
        return int(on.redis.exists("bull:warm:id"))

    with on.keeping():
        with on.producer(ENGINE) as first:
            pass
        assert [added(), added()] == [1, 0]
        with on.producer(ENGINE) as again:
            assert again is first
        assert first.ask("waiting", do="waiting", queue="bench") == 20
    with on.producer(ENGINE) as fresh:
        assert fresh.pid != first.pid
    with pytest.raises((ProgramFailed, ValueError)):
        first.tell(do="waiting", queue="bench")


def test_a_side_that_needs_a_new_start_gets_one(on: Stand) -> None:
    restarted = replace(ENGINE, stays=False)
    with on.keeping():
        with on.producer(restarted) as first:
            pass
        with on.producer(restarted) as second:
            assert second.pid != first.pid


def test_the_busier_core_bounds_the_rate(on: Stand) -> None:
    on.empty()
    figures = ENQUEUE.measure(on, ENGINE, Variant({"way": "bulk"}), 5_000)
    busier = max(figures["server_us"], figures["producer_us"])
    assert figures["cpu_rate"] == pytest.approx(1e6 / busier)


def test_a_fixed_loop_says_how_much_slower_a_core_is(on: Stand) -> None:
    assert 1.0 <= on.slowdown() < 100


# --- trust ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "interval"), [(1, (1, 1)), (5, (1, 5)), (8, (1, 8)), (9, (2, 8)), (12, (3, 10)), (20, (6, 15))]
)
def test_the_interval_of_a_median_is_an_order_statistic(count: int, interval: tuple[float, float]) -> None:
    found = spread([*range(count, 0, -1)])
    assert found.interval == interval
    assert (found.low, found.high, found.runs) == (1, count, count)


def _pairs(*rates: float, **figures: float) -> list[tuple[Run, Run]]:
    def run(side: str, repeat: int, rate: float) -> Run:
        return Run("v", side, repeat, 10_000, {"rate": rate, "server_us": 20.0, **figures}, against="x")

    return [(run("corral", n, rate), run("rival", n, 1.0)) for n, rate in enumerate(rates)]


@pytest.mark.parametrize(
    ("name", "rates", "figures", "verdict"),
    [
        ("rate", [2.0] * 5, {}, TRUSTED),
        ("rate", [2.0] * 5, {"others": 0.4}, "not trusted: others used 0.4 cores"),
        ("rate", [2.0] * 5, {"others": 0.4, "steal": 0.3}, "not trusted: the host took 0.3 cores"),
        ("rate", [2.0] * 4, {}, "not trusted: 4 pairs only"),
        ("rate", [2.0, 2.5, 2.0, 2.1, 2.1], {}, "not trusted: spread 24%"),
        ("server_us", [2.0] * 5, {"others": 0.4}, TRUSTED),
        ("server_us", [2.0] * 5, {"server_us": 2.0}, "not trusted: 20 ms of CPU time a run only"),
        ("commands", [2.0] * 3, {"others": 0.4}, TRUSTED),
    ],
)
def test_a_ratio_is_trusted_or_says_why_not(
    name: str, rates: list[float], figures: dict[str, float], verdict: str
) -> None:
    assert judge(name, spread(rates), _pairs(*rates, **figures)) == verdict


def test_disturbed_pairs_are_left_out_if_enough_are_calm() -> None:
    calm, disturbed = _pairs(2.0, 2.0, 2.0, 2.0, 2.0), _pairs(9.0, others=0.5)

    def ratio(*pairs: tuple[Run, Run]) -> Any:
        numbered = [replace(run, repeat=n) for n, pair in enumerate(pairs) for run in pair]
        (found,) = ratios([replace(run, against="rival" if run.side == "corral" else "corral") for run in numbered])
        return found

    found = ratio(*calm, *disturbed)
    assert (found.pairs, found.of, found.figures["rate"].high) == (5, 6, 2.0)
    found = ratio(*calm[1:], *disturbed)
    assert (found.pairs, found.of, found.figures["rate"].high) == (5, 5, 9.0)


# --- tables -----------------------------------------------------------------------------------------------------------


def test_the_pages_are_what_the_reports_say() -> None:
    reports = tables.stored(ROOT)
    for page, text in tables.sections(reports).items():
        assert f"-->\n{text}\n<!--" in (ROOT / page).read_text(), "python -m benchmarks tables writes it"
    for theme, drawing in tables.charts(reports).items():
        assert (ROOT / tables.CHARTS / f"speed-{theme}.svg").read_text() == drawing


def test_kept_reports_hold_no_path_of_a_machine() -> None:
    for file in (ROOT / tables.RESULTS).glob("*.json"):
        assert str(ROOT) not in file.read_text()
        assert "/home/" not in file.read_text()


def test_every_part_names_what_there_is() -> None:
    for part in (*PARTS, *MORE):
        scenario = SCENARIOS[part.scenario]
        assert all(variants_of(replace(part, only=[only])) for only in part.only)
        assert set(part.peers) <= PEERS.keys()
        assert not part.peers or not scenario.alone


def test_every_bar_is_about_a_variant_of_its_part() -> None:
    parts = {part.name: part for part in PARTS}
    for bar in BARS:
        part = parts[bar.part]
        assert set(bar.against) <= {*part.peers, "*", "bare"}
        variants = {variant.name for variant in variants_of(part)}
        assert bar.variant in variants
        assert (bar.least is None) != (bar.most is None)


def _copy(folder: Path) -> Path:
    for page in tables.PAGES:
        (folder / page).parent.mkdir(exist_ok=True)
        (folder / page).write_text(
            "before\n<!-- measured: written by python -m benchmarks tables -->\n<!-- /measured -->\nafter\n"
        )
    return folder


def test_a_part_is_measured_kept_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = _copy(tmp_path)
    assert main(["tables", "--measure", "--small", "--part", "bare", "--root", str(root)]) == 0
    said = capsys.readouterr()
    report = json.loads((root / tables.RESULTS / "bare.json").read_bytes())
    assert report["scenario"] == "drain"
    assert "program" not in report["server"]
    assert "drain against the bare loop" in said.out
    assert "not measured" in said.out
    page = (root / "benchmarks/README.md").read_text()
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    assert "| drain against the bare loop | >= 0.85 |" in page


def test_without_reports_one_sentence_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="--measure makes them"):
        main(["tables", "--root", str(_copy(tmp_path))])


def test_an_unknown_part_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no drian; there are drain, "):
        main(["tables", "--measure", "--part", "drian", "--root", str(tmp_path)])


# --- verdicts on bars -------------------------------------------------------------------------------------------------


def _drain(rate: float, *, others: float = 0.0) -> dict[str, Report]:
    """A report of five pairs in which ours is `rate` times as fast by the wall's clock, and twice by CPU time."""
    ours = {
        "rate": rate,
        "cpu_rate": 2.0,
        "server_us": 10.0,
        "both_server_us": 20.0,
        "worker_us": 10.0,
        "producer_us": 5.0,
    }
    theirs = {**dict.fromkeys(ours, 1.0), "both_server_us": 60.0, "worker_us": 40.0, "producer_us": 20.0}
    runs = [
        Run(ALL, side, n, 100_000, {**figures, "others": others}, against=against)
        for n in range(5)
        for side, against, figures in (("corral", NODE, ours), (NODE, "corral", theirs))
    ]
    report = Report(
        scenario="drain",
        summary="",
        main="rate",
        shown=["rate"],
        units={},
        variants={ALL: {}},
        made="2026-01-01",
        commit="c",
        machine={"cores": "2", "processor": "P", "kernel": "K"},
        server={"server": "S", "appendonly": "no", "transport": "T", "cores": "C"},
        versions={NODE: {"bullmq": "5"}},
        notes={},
        lacks=[],
        failures=[],
        rows=rows(runs),
        ratios=ratios(runs),
        runs=runs,
    )
    return {"drain": report}


@pytest.mark.parametrize(
    ("rate", "others", "verdict"),
    [
        (3.5, 0.0, "met"),
        (2.9, 0.0, "missed"),
        (3.5, 0.4, "missed by CPU time; wall time not trusted: others used 0.4 cores"),
    ],
)
def test_a_bar_is_judged_by_the_clock_that_holds(rate: float, others: float, verdict: str) -> None:
    result = results(_drain(rate, others=others))[0]
    assert result.bar.least == 3.0
    assert result.verdict == verdict


def test_a_bar_within_the_interval_is_said_to_be_open() -> None:
    (bar, *_) = results(_drain(3.1))
    assert replace(bar, measured=Spread(3.1, 2.9, 3.3, 9, (2.9, 3.3))).verdict == "met, within the spread"


def test_the_front_page_says_by_which_clock() -> None:
    front, _ = tables.sections(_drain(3.5)).values()
    assert "3.5 (3.5-3.5) times as fast as BullMQ 5 on Node" in front
    assert "by CPU time" not in front
    front, _ = tables.sections(_drain(3.5, others=0.4)).values()
    assert "2 (2-2) times as fast" in front
    assert "by CPU time of the busier core: the machine was not calm" in front


def test_a_chart_has_every_side_in_both_themes() -> None:
    drawn = tables.charts(_drain(2.5))
    assert [*drawn] == [theme.name for theme in THEMES]
    for drawing in drawn.values():
        assert "Corral</text>" in drawing
        assert "BullMQ (Node)</text>" in drawing
        assert ">0.4</text>" in drawing


def test_the_options_of_the_tables_beat_those_of_a_part(on: Stand) -> None:
    assert made(PARTS[0], Setup(repeat=2, seconds=0.5), small=False) == Setup(fsync="off", repeat=2, seconds=0.5)
    assert made(PARTS[0], Setup(), small=False).seconds == PARTS[0].seconds
