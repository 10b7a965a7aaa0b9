"""get_counts: how many jobs each state has."""

from __future__ import annotations

from engine.connection import Link
from engine.model.keys import Keys
from engine.model.records import Counts
from engine.scripts.get_counts import get_counts
from tests.support.invariants import check_invariants
from tests.support.seeding import Held, seed


async def test_each_state_is_counted_as_itself(link: Link, keys: Keys) -> None:
    await seed(
        link, keys, wait=["w1", "w2"], paused=["v1", "v2", "v3"], prioritized=dict.fromkeys("abcd", 1),
        delayed=dict.fromkeys("efghi", 9), waiting_children=dict.fromkeys("jklmno", 1), active={"x": Held()},
        completed=dict.fromkeys("pqrstuv", 1), failed={f"f{n}": 1 for n in range(8)},
    )  # fmt: skip
    found = await get_counts(link, keys)
    assert found == Counts(
        waiting=2, paused=3, prioritized=4, delayed=5, waiting_children=6, active=1, completed=7, failed=8
    )
    await check_invariants(link, keys, counts=found)


async def test_an_unknown_queue_is_empty(link: Link, keys: Keys) -> None:
    assert await get_counts(link, keys) == Counts()
