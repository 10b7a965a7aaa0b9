"""Each scenario in its smallest form: that it runs and reports what it says, not how fast."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.measure import Watch, percentile, spread
from benchmarks.program import Program, ProgramFailed
from benchmarks.report import ratios, rows
from benchmarks.rounds import Run

pytestmark = pytest.mark.timeout(120)


def _report(scenario: str, folder: Path, *options: str) -> dict[str, Any]:
    file = folder / "report.json"
    assert main([scenario, "--json", str(file), "--cores", "free", *options]) == 0
    report: dict[str, Any] = json.loads(file.read_bytes())
    assert report["scenario"] == scenario
    assert report["server"]["appendfsync"] == "everysec"
    return report


def test_drain_reports_ours_and_the_limit_and_their_ratio(tmp_path: Path) -> None:
    report = _report("drain", tmp_path, "--jobs", "300", "--repeat", "2", "--only", "concurrency=100")
    for keep in ("all", "10"):
        variant = f"concurrency=100, keep={keep}"
        rows = {row["side"]: row for row in report["rows"] if row["variant"] == variant}
        assert rows.keys() == {"corral", "bare"}
        for row in rows.values():
            rate = row["figures"]["rate"]
            assert row["jobs"] == 300
            assert rate["runs"] == 2
            assert 0 < rate["low"] <= rate["median"] <= rate["high"]
            assert row["figures"]["commands"]["median"] > 1
        (ratio,) = [ratio for ratio in report["ratios"] if ratio["variant"] == variant]
        assert ratio["against"] == "bare"
        pairs = [
            [run["figures"]["rate"] for run in report["runs"] if run["variant"] == variant and run["side"] == side]
            for side in ("corral", "bare")
        ]
        assert ratio["figures"]["rate"]["low"] == pytest.approx(min(a / b for a, b in zip(*pairs, strict=True)))


def test_enqueue_reports_each_way_of_adding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = _report("enqueue", tmp_path, "--jobs", "200", "--repeat", "1")
    assert [(row["variant"], row["side"]) for row in report["rows"]] == [
        (f"way={way}", side) for way in ("one", "at once", "bulk") for side in ("corral", "bare")
    ]
    reads = {row["variant"]: row["figures"]["reads"]["median"] for row in report["rows"] if row["side"] == "corral"}
    assert reads["way=one"] >= 1
    assert reads["way=at once"] < 0.5
    assert "corral divided by the other side" in capsys.readouterr().out


def test_latency_reports_every_percentile_in_order(tmp_path: Path) -> None:
    (row,) = _report("latency", tmp_path, "--jobs", "50", "--repeat", "1")["rows"]
    figures = {name: figure["median"] for name, figure in row["figures"].items()}
    assert 0 < figures["p50_ms"] <= figures["p99_ms"] <= figures["max_ms"]


def test_a_variant_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"concurrency=7; there are concurrency=1, keep=all"):
        main(["drain", "--only", "concurrency=7"])


def test_a_program_that_ends_early_is_told_apart_from_one_that_answers() -> None:
    with Program(["sh", "-c", 'read order; echo "$order"; exit 3'], env={}, cores=frozenset()) as program:
        assert program.ask("word", word="said") == "said"
        with pytest.raises(ProgramFailed, match="status 3"):
            program.hear("word")


def test_the_watch_sees_the_work_of_others_and_not_our_own() -> None:
    spin = ["sh", "-c", "while :; do :; done"]
    with subprocess.Popen(spin) as child:
        ours, theirs = Watch(child.pid), Watch()
        ends = time.monotonic() + 1
        while time.monotonic() < ends:
            pass
        # Compared in one moment, so that whatever else the machine does falls out.
        difference = theirs.others() - ours.others()
        child.kill()
    assert difference > 0.2


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
    assert spread([3, 1, 2]).median == 2
