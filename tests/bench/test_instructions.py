"""Instruction counts and calls of one job: the tapes, the stored counts, what is said of a change, and the smallest run of both commands."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.instructions.callgrind import is_installed
from benchmarks.instructions.counts import FILE, Count, Counts, read_counts, updated, verdict, write_counts
from benchmarks.micro.calls import LONE, WAYS
from benchmarks.micro.player import Player, check
from benchmarks.micro.tapes import CASES, Recording, chosen, record, same_shape
from benchmarks.program import ROOT
from engine.connection.embedded import EmbeddedServer, find_server

pytestmark = pytest.mark.timeout(180)

STORED: Counts = {"add 1": Count(200_000), "add 250": Count(50_000, "an event more")}


# --- tapes ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recording() -> Recording:
    return record(ROOT, list(CASES))


@pytest.fixture(scope="module")
def player() -> Iterator[Player]:
    with EmbeddedServer() as server, Player(server.unix_url) as playing:
        yield playing


@pytest.mark.parametrize("name", CASES)
def test_a_tape_does_the_same_each_time(recording: Recording, player: Player, name: str) -> None:
    tape = recording.tapes[name]
    assert tape.jobs == CASES[name].rows * len(tape.calls)
    player.send_each(tape.load)
    for send in (player.send_each, player.send_all):
        player.set_up(recording, tape)
        check(name, tape, send(tape.calls))


def test_a_call_that_does_something_else_is_found(recording: Recording, player: Player) -> None:
    tape = recording.tapes["finish 100"]
    player.send_each(tape.load)
    player.set_up(recording, tape)
    player.send_each(tape.calls)
    with pytest.raises(RuntimeError, match="finish 100: a call returned"):
        check("finish 100", tape, player.send_each(tape.calls))


def test_replies_may_differ_in_numbers_only() -> None:
    assert same_shape([b"12", [1, None]], [b"7", [25, None]])
    for reply in ([b"x", [1, None]], [b"7", [-1, None]], [b"7", [1]], [b"7", [1, b""]], None):
        assert not same_shape(reply, [b"7", [25, None]])


def test_a_tree_without_scripts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="has no engine/scripts; give the folder of a checkout"):
        record(tmp_path, ["add 1"])


def test_a_tree_that_cannot_run_a_case_says_why(tmp_path: Path) -> None:
    (tmp_path / "engine" / "scripts").mkdir(parents=True)
    (tmp_path / "engine" / "__init__.py").touch()
    with pytest.raises(SystemExit, match="the cases cannot be recorded there: ModuleNotFoundError"):
        record(tmp_path, ["add 1"])


def test_cases_are_chosen_by_their_first_words() -> None:
    names = ["turn 1", "turn 1, events none", "turn 100", "add 1"]
    assert chosen(names, ["turn 1"]) == names[:2]
    assert chosen(names, ["turn 1, events", "add"]) == [names[1], names[3]]
    assert chosen(names, []) == names


# --- stored counts ----------------------------------------------------------------------------------------------------


def test_stored_counts_are_read_as_they_were_written(tmp_path: Path) -> None:
    file = tmp_path / "counts.txt"
    assert read_counts(file) == {}
    file.write_text(write_counts({"Valkey 9.1 x86_64": STORED, "Redis 7.0 x86_64": {}}))
    assert read_counts(file) == {"Valkey 9.1 x86_64": STORED, "Redis 7.0 x86_64": {}}


@pytest.mark.parametrize("line", ["add 1  200,000", "[Valkey", "200,000 add 1"])
def test_a_line_that_is_no_count_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "counts.txt"
    file.write_text(f"# counts\n[Valkey 9.1 x86_64]\n{line}\n")
    with pytest.raises(SystemExit, match=re.escape(f"counts.txt:3: {line!r} is not a count")):
        read_counts(file)


def test_the_repository_has_a_count_of_every_case() -> None:
    servers = read_counts(FILE)
    assert FILE.read_text() == write_counts(servers)
    told = subprocess.run(
        [find_server(prefer_wheel=True), "--version"], capture_output=True, text=True, check=True
    ).stdout
    name, major, minor = re.findall(r"(\w+) server v=(\d+)\.(\d+)", told)[0]
    if platform.machine() == "x86_64":
        assert set(servers[f"{name} {major}.{minor} x86_64"]) == set(CASES)


@pytest.mark.parametrize(
    ("measured", "told"),
    [
        (203_900, ""),
        (196_100, ""),
        (204_100, "MORE than +2%: add 1"),
        (195_900, "LESS than -2%: add 1"),
    ],
)
def test_a_count_may_move_by_two_percent(measured: float, told: str) -> None:
    lines = verdict({"add 1": measured}, STORED)
    assert [line.split(".")[0] for line in lines] == ([told] if told else [])


def test_a_case_without_a_stored_count_is_wrong() -> None:
    assert verdict({"turn 1": 1.0}, STORED) == ["NOT STORED: turn 1. Store them with --write"]


def test_a_higher_count_is_stored_with_its_reason_only() -> None:
    higher = {"add 1": 210_000.0, "add 250": 50_100.0}
    with pytest.raises(SystemExit, match="add 1: more instructions than before; give the reason"):
        updated(STORED, higher, "")
    for bad in ("two\nlines", "a | bar"):
        with pytest.raises(SystemExit, match="has a line break or a bar"):
            updated(STORED, higher, bad)
    assert updated(STORED, higher, "a field more") == {**STORED, "add 1": Count(210_000, "a field more")}


def test_a_lower_count_loses_the_old_reason() -> None:
    assert updated(STORED, {"add 250": 40_000.0}, "")["add 250"] == Count(40_000)


def test_small_steps_add_up_until_they_need_a_reason() -> None:
    once = updated(STORED, {"add 1": 203_000.0}, "")
    assert once == STORED
    with pytest.raises(SystemExit, match="give the reason"):
        updated(once, {"add 1": 206_000.0}, "")


# --- the commands -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not is_installed(), reason="valgrind is not installed")
def test_a_run_is_compared_with_the_stored_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "counts.txt"
    run = ["instructions", "--only", "renew 100", "--repeat", "1", "--counts", str(file)]
    assert main(run) == 1
    assert "NOT STORED: renew 100" in capsys.readouterr().out
    assert main([*run, "--write"]) == 0
    ((server, counts),) = read_counts(file).items()
    assert counts["renew 100"].instructions > 1_000
    half = counts["renew 100"].instructions // 2
    file.write_text(write_counts({server: {"renew 100": Count(half)}}))
    assert main([*run, "--tree", str(ROOT)]) == 1
    told = capsys.readouterr().out
    assert "MORE than +2%: renew 100" in told
    assert "this/other" in told


def test_without_valgrind_it_says_so_and_passes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert shutil.which("valgrind") is None
    assert main(["instructions"]) == 0
    assert "valgrind is not installed" in capsys.readouterr().out


def test_calls_are_timed_in_each_way_and_beside_another_tree(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calls", "--only", "add 1", "--repeat", "1", "--tree", str(ROOT)]) == 0
    rows = [re.split(r"  +", line) for line in capsys.readouterr().out.splitlines() if line.startswith("add 1 ")]
    assert [row[:3] for row in rows] == [["add 1", way, side] for way in WAYS for side in ("this", "other")]
    assert all(float(figure.split()[0].replace(",", "")) > 0 for row in rows for figure in row[3:])


@pytest.mark.parametrize(("command", "names"), [("instructions", list(CASES)), ("calls", LONE)])
def test_a_case_that_is_not_there_is_refused(command: str, names: Sequence[str]) -> None:
    with pytest.raises(SystemExit, match=f"--only: no case begins with sub; there are {names[0]}"):
        main([command, "--only", "sub"])
