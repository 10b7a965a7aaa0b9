"""Each scenario in its smallest form: that it runs and reports what it says, not how fast. And what is made of reports."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from benchmarks import peers
from benchmarks.__main__ import main
from benchmarks.compare import compare
from benchmarks.measure import Spread, Watch, cpu_seconds, family, percentile, percentiles_ms, spread
from benchmarks.ours import BARE, ENGINE
from benchmarks.ours.worker import Handler
from benchmarks.peers import PEERS
from benchmarks.peers.common.talk import Tally
from benchmarks.plots import draw
from benchmarks.program import Program, ProgramFailed, Silent
from benchmarks.progress import progress
from benchmarks.report import UNITS, Report, lacks, ratios, read, rows, table, write
from benchmarks.rounds import Rounds, Run
from benchmarks.scenario import Figures, Scenario, Variant
from benchmarks.scenarios import SCENARIOS, drain
from benchmarks.scenarios.drain import DRAIN
from benchmarks.side import Side
from benchmarks.stand import Stand, stand

pytestmark = pytest.mark.timeout(120)


def _report(scenario: str, folder: Path, *options: str) -> dict[str, Any]:
    file = folder / "report.json"
    assert main([scenario, "--json", str(file), "--cores", "free", *options]) == 0
    report: dict[str, Any] = json.loads(file.read_bytes())
    assert report["scenario"] == scenario
    assert report["server"]["appendfsync"] == "everysec"
    return report


# --- scenarios --------------------------------------------------------------------------------------------------------


def test_drain_reports_ours_and_the_limit_and_their_ratio(tmp_path: Path) -> None:
    report = _report(
        "drain", tmp_path, "--jobs", "300", "--repeat", "2", "--only", "concurrency=100", "--only", "keep=all"
    )
    rows = {row["side"]: row for row in report["rows"] if "events" not in row["variant"]}
    assert rows.keys() == {"corral", "bare"}
    for row in rows.values():
        assert row["variant"] == "concurrency=100, keep=all, payload=100"
        rate = row["figures"]["rate"]
        assert row["jobs"] == 300
        assert rate["runs"] == 2
        assert 0 < rate["low"] <= rate["median"] <= rate["high"]
        assert row["figures"]["commands"]["median"] > 1
        assert row["figures"]["lost"]["high"] == row["figures"]["twice"]["high"] == 0
    ratio = report["ratios"][0]
    assert (ratio["variant"], ratio["against"]) == (row["variant"], "bare")
    runs = [run for run in report["runs"] if run["variant"] == row["variant"]]
    # Neighbours, and whoever was first in one pair is second in the next.
    assert [run["side"] for run in runs] == ["corral", "bare", "bare", "corral"]
    pairs = [[run["figures"]["rate"] for run in runs if run["side"] == side] for side in ("corral", "bare")]
    assert ratio["figures"]["rate"]["low"] == pytest.approx(min(a / b for a, b in zip(*pairs, strict=True)))
    assert ratio["verdicts"]["rate"].startswith("not trusted: ")


@pytest.mark.parametrize("only", ["concurrency=1", "concurrency=500", "keep=0", "payload=100000", "events=none"])
def test_drain_has_its_other_variants(tmp_path: Path, only: str) -> None:
    report = _report("drain", tmp_path, "--jobs", "120", "--repeat", "1", "--only", only)
    assert {row["side"] for row in report["rows"]} == {"corral", "bare"}
    if only == "payload=100000":
        # Adding is not in it, and a claim brings each payload once. The worker loads its scripts, 2 KB a job here.
        assert all(100_000 < row["figures"]["bytes"]["median"] < 105_000 for row in report["rows"])


@pytest.mark.parametrize("side", [ENGINE, BARE], ids=lambda side: side.name)
def test_events_are_written_as_a_variant_asks(side: Side) -> None:
    usual = Variant({"concurrency": 10, "keep": 10, "payload": 100})
    chosen = {
        "all": usual,
        "results": Variant({**usual.settings, "events": "results"}, wishes=frozenset({"result events"})),
        "none": Variant({**usual.settings, "events": "none"}, wishes=frozenset({"no events"})),
    }
    lengths = {}
    with stand(program=None, tcp=False, fsync="off", place="free") as on:
        for events, variant in chosen.items():
            on.empty()
            DRAIN.measure(on, side, variant, 30)
            lengths[events] = on.redis.xlen("bull:bench:events")
    assert lengths["all"] > 3 * 30
    assert lengths["results"] == 30
    assert lengths["none"] == 0


def test_enqueue_reports_each_way_of_adding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = _report("enqueue", tmp_path, "--jobs", "200", "--repeat", "1")
    assert [(row["variant"], row["side"]) for row in report["rows"]] == [
        *((f"way={way}", side) for way in ("one", "at once", "bulk") for side in ("corral", "bare")),
        ("way=sync", "corral"),
    ]
    reads = {row["variant"]: row["figures"]["reads"]["median"] for row in report["rows"] if row["side"] == "corral"}
    assert reads["way=one"] >= 1
    assert reads["way=sync"] >= 1
    assert reads["way=at once"] < 0.5
    said = capsys.readouterr().out
    assert "corral divided by the other side" in said
    assert "bare does not: sync; left out of way=sync" in said


def test_latency_reports_every_percentile_in_order_idle_and_at_half_load(tmp_path: Path) -> None:
    rows = _report("latency", tmp_path, "--jobs", "50", "--repeat", "1")["rows"]
    idle, half = [{name: figure["median"] for name, figure in row["figures"].items()} for row in rows]
    for figures in (idle, half):
        ranked = [figures[name] for name in ("p50_ms", "p95_ms", "p99_ms", "p99.9_ms", "max_ms")]
        assert ranked[0] > 0
        assert ranked == sorted(ranked)
    assert idle["offered"] == 50
    assert half["offered"] > 50


def test_every_scenario_says_what_it_shows() -> None:
    for name, scenario in SCENARIOS.items():
        assert name == scenario.name
        titles = {**UNITS, **scenario.units}
        assert [figure for figure in (scenario.main, *scenario.shown) if figure not in titles] == []
        names = [variant.name for variant in scenario.variants]
        assert len(names) == len(set(names))
        for variant in scenario.variants:
            assert variant.trial or variant.jobs or scenario.jobs, variant.name


def test_every_rival_is_listed() -> None:
    folders = {file.parent.name for file in Path(peers.__file__).parent.glob("*/__init__.py")}
    assert set(PEERS) == folders
    # On the wire they all do what the engine does, but for an option that BullMQ has not.
    for side in PEERS.values():
        assert not side.on_the_wire or side.can == ENGINE.can - {"sync", "no events", "result events"}


# --- what is refused --------------------------------------------------------------------------------------------------


def test_a_variant_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(SystemExit, match=r"concurrency=7; there are concurrency=1, keep=all"):
        main(["drain", "--only", "concurrency=7"])


def test_a_scenario_or_rival_that_is_not_there_is_refused_with_those_that_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for wrong in (["drian"], ["drain", "--peers", "resque"]):
        with pytest.raises(SystemExit):
            main(wrong)
        assert ("enqueue" if len(wrong) == 1 else "bullmq_node") in capsys.readouterr().err


def test_a_file_that_is_no_report_is_refused_with_how_to_make_one(tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text('{"scenario": 3}')
    for file, why in ((other, "is no report.*--json FILE"), (tmp_path / "none.json", "No such file")):
        with pytest.raises(SystemExit, match=why):
            main(["compare", str(file), str(file)])
        with pytest.raises(SystemExit, match=why):
            main(["plot", str(file), "--to", str(tmp_path)])


# --- programs and what they spend -------------------------------------------------------------------------------------


def test_a_program_that_ends_early_is_told_apart_from_one_that_answers() -> None:
    with Program(["sh", "-c", 'read order; echo "$order"; exit 3'], env={}, cores=frozenset()) as program:
        assert program.ask("word", word="said") == "said"
        with pytest.raises(ProgramFailed, match="status 3"):
            program.hear("word")
        with pytest.raises(ProgramFailed, match=r"status 3 before .*'late'"):
            program.tell(word="late")


def test_what_is_no_answer_is_told_as_it_was_said() -> None:
    with Program(["sh", "-c", "echo welcome; echo '{\"word\": 1}'"], env={}, cores=frozenset()) as program:
        with pytest.raises(ProgramFailed, match="said b'welcome' where 'word' was due"):
            program.hear("word")
        assert program.hear("word") == 1


def test_a_silent_program_can_be_heard_later() -> None:
    with Program(["sh", "-c", 'read order; echo "$order"'], env={}, cores=frozenset()) as program:
        with pytest.raises(Silent, match=r"0\.01 s"):
            program.hear("word", patience=0.01)
        assert program.ask("word", word="said") == "said"


def test_a_killed_program_is_gone_with_its_children() -> None:
    with Program(["sh", "-c", 'sleep 60 & echo "{\\"ready\\": $!}"; wait'], env={}, cores=frozenset()) as program:
        child = program.hear("ready")
        assert family(program.pid) == [program.pid, child]
        program.kill()
        ends = time.monotonic() + 10
        while _lives(child):
            assert time.monotonic() < ends


def _lives(pid: int) -> bool:
    """A killed orphan may stay as a zombie until whoever adopted it looks."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_handler_burns_time_of_the_processor_and_not_of_the_clock() -> None:
    job: Any = SimpleNamespace(data={"burn": 20_000}, attempts_made=0)
    began = time.thread_time()
    await Handler().handle(job)
    ours = time.thread_time()
    Tally().begun(job.data)
    assert ours - began >= 0.02
    assert time.thread_time() - ours >= 0.02


def test_the_time_of_children_counts_while_they_live_and_once_they_have_ended() -> None:
    burn = "import os, time\nwhile time.process_time() < 0.2: pass\nprint('{\"burnt\": 1}', flush=True)\ninput()"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}]); print('{{\"over\": 1}}', flush=True); input()"
    with Program([sys.executable, "-c", parent], env={}, cores=frozenset()) as program:
        program.hear("burnt")
        assert cpu_seconds(program.pid) >= 0.2
        program.tell()
        program.hear("over")
        assert cpu_seconds(program.pid) >= 0.2


def test_the_watch_sees_the_work_of_others_and_not_our_own() -> None:
    spin = ["sh", "-c", "while :; do :; done"]
    with subprocess.Popen(spin) as child:
        ours, theirs = Watch(child.pid), Watch()
        began, before = time.monotonic(), cpu_seconds(child.pid)
        while cpu_seconds(child.pid) - before < 0.5:
            pass
        # Compared in one moment, so that what else the machine does falls out.
        difference = theirs.others() - ours.others()
        elapsed = time.monotonic() - began
        child.kill()
    assert difference * elapsed == pytest.approx(0.5, abs=0.2)


# --- rounds -----------------------------------------------------------------------------------------------------------


def _measure(stand: Stand, side: Side, variant: Variant, jobs: int) -> Figures:
    if side.name == "broken":
        raise ProgramFailed("it ended")
    return {"rate": 100.0 * jobs, "others": 0.0}


_SCENARIO = Scenario(
    "made-up",
    "nothing is run",
    variants=(
        Variant({"way": "sync"}, trial=1, needs=frozenset({"sync"})),
        Variant({"way": "one"}, trial=2, needs=frozenset({"one"}), wishes=frozenset({"no events"})),
    ),
    measure=_measure,
    main="rate",
    shown=("rate",),
)
_BROKEN = Side("broken", worker=(), producer=(), notes="", can=frozenset({"one"}))


def test_who_cannot_is_left_out_and_whose_program_fails_takes_no_other_down(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sides = [ENGINE, BARE, _BROKEN]
    with stand(program=None, tcp=False, fsync="off", place="free") as on:
        rounds = Rounds(_SCENARIO, on, sides, 2, None, calm=False)
        assert rounds.steps(_SCENARIO.variants) == 1 * 3 + 3 * 3
        with progress(12) as shown:
            rounds.run(_SCENARIO.variants, shown)
    ran = [(run.variant, run.side, run.repeat) for run in rounds.runs]
    assert sorted(ran) == [
        (way, side, n)
        for way, side in (("way=one", "bare"), ("way=one", "corral"), ("way=sync", "corral"))
        for n in (0, 1)
    ]
    assert [(failure.variant, failure.side) for failure in rounds.failures] == [("way=one", "broken")]
    missing = {(lack.side, lack.skill): (lack.left_out, lack.as_it_is) for lack in lacks(sides, _SCENARIO.variants)}
    assert missing["bare", "sync"] == (["way=sync"], [])
    assert missing["broken", "no events"] == ([], ["way=one"])
    assert "made-up way=one: broken, trial" in capsys.readouterr().err


def _holding(stand: Stand, side: Side, variant: Variant, jobs: int) -> Figures:
    for _ in range(jobs):
        stand.redis.eval("for n = 1, ARGV[1] do redis.sha1hex(n) end", 0, 100_000)
    stand.redis.eval("return 1", 0)
    return {"rate": 1.0} | ({"slow": 7} if variant.settings["way"] == "own" else {})


def test_scripts_that_held_the_server_too_long_are_counted_unless_the_scenario_counted_its_own() -> None:
    variants = [Variant({"way": way}, jobs=2) for way in ("all", "own")]
    holding = replace(_SCENARIO, measure=_holding, variants=variants)
    with stand(program=None, tcp=False, fsync="off", place="free") as on, progress(2) as shown:
        rounds = Rounds(holding, on, [ENGINE], 1, None, calm=False)
        rounds.run(variants, shown)
    assert [run.figures["slow"] for run in rounds.runs] == [2, 7]


_CARELESS = """
import json, sys
answers = {"add": {"seconds": 1}, "waiting": {"waiting": 0}, "ready": {"ready": True}}
print(json.dumps({"ready": {}}), flush=True)
for line in sys.stdin:
    order = json.loads(line)
    if order["do"] == "begin":
        handled = order["jobs"] + {change}
        answers["end"] = {"ended": {"handled": handled, "delays": []}}
        answers["begin"] = {"handled": handled}
        if handled < order["jobs"]:
            continue
    print(json.dumps(answers[order["do"]]), flush=True)
"""
"""A rival that says it has handled this many jobs more or less than there were; where some are missing it says nothing."""


@pytest.mark.parametrize(("change", "lost", "twice"), [(-2, 2, 0), (0, 0, 0), (1, 0, 1)])
def test_what_a_rival_loses_or_does_twice_is_a_figure(
    monkeypatch: pytest.MonkeyPatch, change: int, lost: int, twice: int
) -> None:
    monkeypatch.setattr(drain, "_LOOK", 0.02)
    monkeypatch.setattr(drain, "_LAST_WAIT", 0.1)
    program = (sys.executable, "-c", _CARELESS.replace("{change}", str(change)))
    careless = Side("careless", worker=program, producer=program, notes="", can=frozenset({"bulk", "keep all"}))
    (variant, *_) = DRAIN.variants
    with stand(program=None, tcp=False, fsync="off", place="free") as on:
        figures = DRAIN.measure(on, careless, variant, 10)
    assert (figures["lost"], figures["twice"]) == (lost, twice)
    assert figures["rate"] > 0


def test_a_repeat_that_does_not_count_is_left_out_with_all_its_sides() -> None:
    runs = [
        Run("v", side, repeat, 1, {"rate": rate, "others": others}, counted=repeat != 1)
        for repeat, side, rate, others in [
            (0, "corral", 20.0, 0.0), (0, "bare", 10.0, 0.0),
            (1, "bare", 1.0, 0.0), (1, "corral", 90.0, 0.5),
            (2, "corral", 30.0, 0.0), (2, "bare", 10.0, 0.0),
        ]
    ]  # fmt: skip
    assert [row.figures["rate"].runs for row in rows(runs)] == [2, 2]
    (ratio,) = ratios(runs)
    assert (ratio.figures["rate"].low, ratio.figures["rate"].high) == (2.0, 3.0)


def test_a_percentile_is_a_measured_value() -> None:
    assert percentile([4, 1, 3, 2], 0.5) == 2
    assert percentile([4, 1, 3, 2], 0.99) == 4
    assert percentiles_ms([4_000, 1_000, 3_000, 2_000])["p50_ms"] == 2
    assert spread([3, 1, 2]).median == 2


# --- reports ----------------------------------------------------------------------------------------------------------


def _made_up(*rates: float, **changed: Any) -> Report:
    """A report with one row for each concurrency: 1, 10, 100, ..."""
    settings = [{"concurrency": 10**n, "keep": None} for n in range(len(rates))]
    variants = [Variant(dict(given)) for given in settings]
    figures = [{"rate": rate, "p50_ms": 1.0, "p99.9_ms": 3.0, "lost": 0.0, "others": 0.0} for rate in rates]
    runs = [Run(variant.name, "corral", 0, 10, given) for variant, given in zip(variants, figures, strict=True)]
    report = Report(
        scenario="drain",
        summary="made up",
        main="rate",
        shown=["rate"],
        units={"rate": "jobs/s", "lost": "LOST"},
        variants={variant.name: variant.settings for variant in variants},
        made="2026-01-01",
        commit="c",
        machine={"cores": "2", "load at the start": "0.00"},
        server={"server": "Valkey 9"},
        versions={"corral": {"python": "3.11"}},
        notes={"corral": "defaults"},
        lacks=[],
        failures=[],
        rows=rows(runs),
        ratios=ratios(runs),
        runs=runs,
    )
    return replace(report, **changed)


def _files(folder: Path, *reports: Report) -> list[Path]:
    files = [folder / f"{n}.json" for n in range(len(reports))]
    for report, file in zip(reports, files, strict=True):
        write(report, file)
    return files


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    (file,) = _files(tmp_path, _made_up(100, 200))
    assert read(file) == _made_up(100, 200)


@pytest.mark.parametrize(("name", "title"), [("lost", "LOST"), ("twice", "TWICE"), ("slow", "SCRIPTS OVER 10 MS")])
def test_what_should_not_be_stands_in_the_table_once_there_is_any(name: str, title: str) -> None:
    report = replace(_made_up(100), units=UNITS)
    assert title not in table(report)
    (row,) = report.rows
    marred = replace(row, figures={**row.figures, name: Spread(0, 0, 2, 3)})
    assert table(replace(report, rows=[marred])).count(title) == 1
    assert table(replace(report, rows=[marred], shown=["rate", name])).count(title) == 1


def test_two_reports_are_set_side_by_side(tmp_path: Path) -> None:
    said = compare(*_files(tmp_path, _made_up(100, 200), _made_up(150, 200, 300)))
    (line,) = [line for line in said.splitlines() if line.startswith("concurrency=1, ")]
    assert line.split()[2:] == ["corral", "jobs/s", "100", "(100-100)", "150", "(150-150)", "1.5", "(1.5-1.5)"]
    (line,) = [line for line in said.splitlines() if line.startswith("concurrency=10, ")]
    assert line.endswith("brackets overlap")
    assert "only in B: corral, concurrency=100, keep=all" in said
    assert "machine, server settings and versions are the same" in said


def test_reports_of_other_grounds_are_set_side_by_side_with_a_warning(tmp_path: Path) -> None:
    other = _made_up(
        100,
        machine={"cores": "8", "load at the start": "1.00"},
        server={"server": "Redis 7"},
        versions={"corral": {"python": "3.13"}},
    )
    said = compare(*_files(tmp_path, _made_up(100), other))
    assert "DIFFERENT machine: cores is 2 in A, 8 in B" in said
    assert "DIFFERENT server: server is Valkey 9 in A, Redis 7 in B" in said
    assert "DIFFERENT corral: python is 3.11 in A, 3.13 in B" in said
    assert "load" not in said


def test_reports_of_two_scenarios_are_not_compared(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"about drain and .* about latency"):
        compare(*_files(tmp_path, _made_up(100), _made_up(100, scenario="latency")))


def test_a_report_is_drawn_over_its_numbers_and_its_percentiles(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    drawn = [file.name for file in draw(_made_up(100, 200), tmp_path / "plots", "x")]
    assert drawn == [
        "x-by-concurrency-keep-all.svg",
        "x-latency-concurrency-1-keep-all.svg",
        "x-latency-concurrency-10-keep-all.svg",
    ]
    for name in drawn:
        assert (tmp_path / "plots" / name).read_text().startswith("<?xml")


def test_without_matplotlib_one_sentence_says_what_to_install(tmp_path: Path) -> None:
    (file,) = _files(tmp_path, _made_up(100))
    hidden = "import sys; from importlib import util; util.find_spec = lambda name: None; from benchmarks.__main__ import main; main()"
    for arguments in (["plot", str(file), "--to", str(tmp_path)], ["drain", "--plot", str(tmp_path)]):
        said = subprocess.run([sys.executable, "-c", hidden, *arguments], capture_output=True, text=True, check=False)
        assert said.returncode == 1
        assert said.stderr == "plots are drawn by matplotlib, which is not installed: pip install 'corral[bench]'\n"
