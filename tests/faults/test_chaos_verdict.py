"""The judge of the chaos run: a sound run has no charges, each kind of damage has its own charge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from tests.faults.chaos.verdict import FORGIVEN, Answer, Evidence, Exited, Killed, Noted, at_share, judge

EVENTS = """
added 1, waiting 1, active 1, completed 1 returnvalue="1",
added m2, waiting m2, active m2, waiting m2, stalled m2, active m2, completed m2 returnvalue="2",
added 3, waiting 3, active 3, waiting 3, active 3, completed 3 returnvalue="2"
"""
"""Job 1 runs through, m2 loses its daemon, 3 fails once."""
ANSWERS = [
    Answer("m1", "acked", "1"),
    Answer("m2", "unknown", "-"),
    Answer("m2", "acked", "m2"),
    Answer("m3", "acked", "3"),
    Answer("m4", "refused", "-"),
    Answer("m5", "unknown", "-"),
]
NOTED = [
    Noted("start", "1", 1, 100, 0, 1.0, "m1"),
    Noted("end", "1", 1, 100, 0, 1.5, "m1"),
    Noted("start", "m2", 1, 100, 0, 2.0, "m2"),
    Noted("start", "m2", 2, 200, 0, 14.0, "m2"),
    Noted("end", "m2", 2, 200, 0, 14.5, "m2"),
    Noted("start", "3", 1, 200, 0, 15.0, "m3"),
    Noted("start", "3", 2, 200, 1, 16.0, "m3"),
    Noted("end", "3", 2, 200, 1, 16.5, "m3"),
]


def lines(story: str = EVENTS) -> list[str]:
    return [line.strip() for line in story.replace("\n", " ").split(",")]


def sound() -> Evidence:
    return Evidence(
        answers=ANSWERS,
        noted=NOTED,
        killed=[Killed(100, 4.0)],
        exited=[Exited(50, 1), Exited(200, 0)],
        events=lines(),
        places={"1": "completed", "m2": "completed", "3": "completed"},
        over=15.5,
        unsound=[],
    )


def retold(old: str, new: str) -> dict[str, Any]:
    """The stream with a piece replaced."""
    assert old in EVENTS
    return {"events": lines(EVENTS.replace(old, new))}


DAMAGES: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
    "a job is nowhere": ("lost", lambda: {"places": {"1": "completed", "m2": "completed"}}),
    "it is nowhere though it has completed by the stream": ("lost", lambda: {"places": {"1": "completed", "3": "completed"}}),
    "the first claim ends too": ("completed twice", lambda: retold(
        'stalled m2,', 'stalled m2, completed m2 returnvalue="1",')),
    "one claim ends twice": ("completed twice", lambda: retold(
        'completed 1 returnvalue="1"', 'completed 1 returnvalue="1", completed 1 returnvalue="1"')),
    "two ids for one add": ("added twice", lambda: {"noted": [*NOTED, Noted("start", "4", 1, 200, 0, 17.0, "m1")]}),
    "two acknowledged ids for one add": ("added twice", lambda: {"answers": [*ANSWERS, Answer("m2", "acked", "9")]}),
    "a refused add runs": ("refused and run", lambda: {"noted": [*NOTED, Noted("start", "4", 1, 200, 0, 17.0, "m4")]}),
    "a job waits at the end": ("wrong end", lambda: {"places": {"1": "completed", "m2": "completed", "3": "wait"}}),
    "a job has failed": ("wrong end", lambda: {"places": {"1": "completed", "m2": "completed", "3": "failed"}}),
    "no handler ended": ("wrong end", lambda: {"noted": NOTED[:1] + NOTED[2:]}),
    "another claim's handler ended": ("wrong end", lambda: retold('completed m2 returnvalue="2"', 'completed m2 returnvalue="1"')),
    "a completion without an event": ("wrong end", lambda: retold(', completed 3 returnvalue="2"', "")),
    "a claim runs twice": ("wrong start", lambda: {"noted": [*NOTED, Noted("start", "1", 1, 200, 0, 17.0, "m1")]}),
    "a start without a claim": ("wrong start", lambda: retold("stalled m2, active m2,", "stalled m2,")),
    "a daemon with jobs exits": ("exited", lambda: {"exited": [Exited(200, 1)]}),
    "the queue is unsound": ("unsound", lambda: {"unsound": ["I1 '1' is in wait and completed"]}),
    "a restart is late": ("late restart", lambda: {"killed": [Killed(100, 2.5)]}),
}  # fmt: skip


def test_a_sound_run_has_no_charges() -> None:
    verdict = judge(sound(), bound=10.0)
    assert verdict.charges == {}
    assert (verdict.acked, verdict.refused, verdict.unknown) == (3, 1, 1)
    assert (verdict.lost, verdict.completed_twice, verdict.restarted) == (0, 0, 1)
    assert (verdict.restarts, verdict.gap) == ([10.0], 12.0)


def test_the_gap_is_that_under_load() -> None:
    assert judge(structs.replace(sound(), over=10.0)).gap == 1.0


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_has_its_charge(damage: str) -> None:
    charge, change = DAMAGES[damage]
    assert charge in judge(structs.replace(sound(), **change()), bound=10.0).charges


@pytest.mark.parametrize("charge", sorted({charge for charge, _ in DAMAGES.values()}))
def test_what_everysec_is_forgiven(charge: str) -> None:
    """The server may lose acknowledged writes; all else holds."""
    changes = [change() for its_charge, change in DAMAGES.values() if its_charge == charge]
    verdicts = [judge(structs.replace(sound(), **change), durable=False, bound=10.0) for change in changes]
    assert all((charge in verdict.charges) == (charge not in FORGIVEN) for verdict in verdicts)


def test_a_job_taken_before_the_kill_is_no_restart() -> None:
    assert judge(structs.replace(sound(), killed=[Killed(100, 14.2)])).restarts == []


def test_at_share_of_values() -> None:
    assert at_share(0.99, [float(number) for number in range(1, 101)]) == 99.0
    assert at_share(0.5, [1.0, 2.0, 3.0]) == 2.0
    assert at_share(0.99, []) == 0.0
