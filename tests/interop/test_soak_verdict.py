"""The judge of the soak: a sound run has no charges, each kind of damage has its own charge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from tests.interop.soaking.verdict import Added, Evidence, judge

STORY = """
added a, waiting a, added b, waiting b, added d, waiting d, active a, completed a "v5-1", active b, waiting b, stalled b,
active b, completed b "v5-2", active d, failed d, retries-exhausted d,
added p, waiting-children p, added c, waiting c, active c, waiting p, completed c "us-2", active p, completed p "us-1",
paused, added x, waiting x, resumed, active x, completed x "v6-1"
"""
ADDED = [
    Added("a", "v5-1", "plain"),
    Added("b", "v5-2", "plain"),
    Added("d", "v5-3", "doomed"),
    Added("p", "us-1", "parent"),
    Added("c", "us-2", "child"),
    Added("x", "v6-1", "plain"),
]
WORKED = ["start a 1", "end a 1", "start b 1", "start b 2", "end b 2", "start d 1", "start c 1", "end c 1"]


def lines(story: str = STORY) -> list[str]:
    told = [entry.split() for entry in story.replace("\n", " ").split(",")]
    return [" ".join([f"{n}-0", *[*entry, "-", "-"][:3]]) for n, entry in enumerate(told, 1)]


def sound() -> Evidence:
    return Evidence(
        added=ADDED,
        lines=lines(),
        heard={"v5": lines(), "v6": lines(), "us": lines()},
        worked=[[*noted.split(), "9"] for noted in [*WORKED, "start p 1", "end p 1", "start x 1", "end x 1"]],
        places={one.id: "failed" if one.kind == "doomed" else "completed" for one in ADDED},
        pausers=["v6"],
    )


def retold(old: str, new: str) -> dict[str, Any]:
    """The story with a piece told otherwise, as all heard it."""
    assert old in STORY
    told = lines(STORY.replace(old, new))
    return {"lines": told, "heard": {"us": told}}


def nowhere(id: str) -> dict[str, str]:
    return {known: place for known, place in sound().places.items() if known != id}


DAMAGES: dict[str, Callable[[], dict[str, Any]]] = {
    "lost": lambda: retold(', completed x "v6-1"', "") | {"places": nowhere("x")},
    "completed twice": lambda: retold(
        'active b, completed b "v5-2"', 'completed b "v5-2", active b, completed b "v5-2"'
    ),
    "wrong end": lambda: retold('"v5-1"', '"v5-2"'),
    "wrong life": lambda: retold("waiting b, stalled b", "stalled b"),
    "wrong start": lambda: {"worked": [*sound().worked, ["start", "b", "2", "8"]]},
    "out of order": lambda: retold('active a, completed a "v5-1", active b', 'active b, active a, completed a "v5-1"'),
    "child after parent": lambda: retold('completed c "us-2", active p', 'active p, completed c "us-2"'),
    "unread": lambda: {"heard": {"us": lines()[:-1]}},
}


def test_a_sound_run_has_no_charges() -> None:
    verdict = judge(sound())
    assert verdict.charges == {}
    assert (verdict.jobs, verdict.starts, verdict.again, verdict.stalls) == (6, 7, 1, 1)


@pytest.mark.parametrize("charge", DAMAGES)
def test_damage_is_charged_by_its_name(charge: str) -> None:
    assert charge in judge(structs.replace(sound(), **DAMAGES[charge]())).charges


@pytest.mark.parametrize(("producer", "pauser", "is_charged"), [
    ("v5", "v6", False), ("v5", "v5", True), ("v5", "us", True), ("v6", "v6", True), ("us", "v6", True),
])  # fmt: skip
def test_only_bullmq_5_adds_in_a_pause_of_6_may_overtake(producer: str, pauser: str, is_charged: bool) -> None:
    told = lines("waiting a, paused, waiting b, resumed, active b, active a")
    added = [Added("a", f"{producer}-1", "plain"), Added("b", f"{producer}-2", "plain")]
    verdict = judge(structs.replace(sound(), added=added, lines=told, pausers=[pauser]))
    assert ("out of order" in verdict.charges) == is_charged
